"""The driver's door for Spark's workers: who is let in."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import wait
from queue import Queue
from threading import Thread

import pytest

from daskmeans.passes.spark_wire import Door


@pytest.fixture
def let_in():
    return Queue()


@pytest.fixture
def door(let_in):
    """A door that is answered whenever somebody knocks, until the test ends."""
    opened = Door("127.0.0.1", "127.0.0.1", lambda *who: let_in.put(who))
    closing, close = socket.socketpair()

    def answer():
        while closing not in wait([opened.socket, closing]):
            opened.answer()

    answering = Thread(target=answer)
    answering.start()
    yield opened
    close.close()
    answering.join()
    opened.close()
    closing.close()


def test_who_knows_the_secret_is_let_in_and_both_can_speak(door, let_in):
    with door.address.connect() as worker:
        worker.send_bytes(b"here")
        driver, first = let_in.get(timeout=10)
        with driver:
            assert first == b"here"
            large = bytes(3_000_000)
            Thread(target=driver.send_bytes, args=(large,)).start()
            assert worker.recv_bytes() == large


def test_messages_are_sent_at_once(door, let_in):
    """Without Nagle's algorithm, which holds a small message back until the last has arrived."""
    with door.address.connect() as worker:
        worker.send_bytes(b"here")
        driver, _ = let_in.get(timeout=10)
        for end in (worker, driver):
            with socket.socket(fileno=end.fileno()) as other:
                assert other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                other.detach()
        driver.close()


def test_wrong_secret_is_refused(door, let_in):
    with pytest.raises(AuthenticationError):
        replace(door.address, secret=b"guessed").connect()
    assert let_in.empty()
    assert door.address.secret.hex() not in repr(door.address)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_strangers_do_not_hold_up_others(door, let_in, sent):
    with socket.create_connection((door.address.host, door.address.port)) as stranger:
        stranger.sendall(sent)
        with door.address.connect() as worker:
            worker.send_bytes(b"here")
            driver, first = let_in.get(timeout=10)
            driver.close()
            assert first == b"here"
    assert let_in.empty()


def test_who_is_gone_before_the_door_is_opened_is_not_waited_for():
    """Some systems forget who knocked and went, others let them in, but set no options then."""
    with closing(Door("127.0.0.1", "127.0.0.1", lambda *who: None)) as door:
        door.answer()
        # A socket that has not got the options either.
        knocking, other = socket.socketpair()
        door._meet(knocking)
        assert knocking.fileno() == -1
        with other:
            assert other.recv(1) == b""


def test_driver_that_is_somebody_else_is_found_out(door):
    """Whoever listens at the port has to prove that it sent the worker."""
    listening = socket.create_server(("127.0.0.1", 0))
    elsewhere = replace(door.address, port=listening.getsockname()[1])

    def answer_anything():
        stranger, _ = listening.accept()
        with stranger:
            stranger.sendall(b"\0\0\0\x1e#CHALLENGE#" + bytes(19))
            stranger.recv(100)
            stranger.sendall(b"\0\0\0\x09#WELCOME#")
            stranger.recv(100)
            stranger.sendall(b"\0\0\0\x10" + bytes(16))
            stranger.recv(100)

    answering = Thread(target=answer_anything)
    answering.start()
    with pytest.raises(AuthenticationError):
        elsewhere.connect()
    answering.join()
    listening.close()
