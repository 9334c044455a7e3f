"""Connections between Spark's driver and its Python workers, who know each other by a secret.

What is sent is neither encrypted nor signed, as what Spark sends by default.
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from threading import Thread
from typing import Any

# Of a worker that finds no way to the driver, or nobody there; less than the driver waits for it.
_CONNECT_S = 5
# After which one who takes nothing of a message, or sends no more of one, is given up.
_STUCK_S = 60
_BACKLOG = 4096

# What goes wrong with a connection whose other end is gone, stuck or a stranger.
LOST = (OSError, EOFError, AuthenticationError)


@dataclass(frozen=True)
class Address:
    """Where workers find the driver, and how they prove that they were sent by it."""

    host: str
    port: int
    secret: bytes = field(repr=False)

    def connect(self) -> Connection:
        """Return a connection to the driver.

        Raises
        ------
        OSError, EOFError, AuthenticationError
            If there is no way to it, or it is somebody else.
        """
        connection = _connection(
            socket.create_connection((self.host, self.port), _CONNECT_S), _CONNECT_S
        )
        with _recognising():
            answer_challenge(connection, self.secret)
            deliver_challenge(connection, self.secret)
        return connection


class Door:
    """A port of the driver. Who knows the secret is let in.

    Parameters
    ----------
    bind : str
        Interface that it listens at.
    host : str
        Name or address by which workers find it.
    let_in : function (Connection, bytes)
        Called in a thread of its own with a connection and the first message on it.

    Attributes
    ----------
    socket : socket
        Ready to be read once somebody knocks: then `answer` is to be called.
    address : Address

    Raises
    ------
    OSError
        If nothing can listen there.
    """

    def __init__(self, bind: str, host: str, let_in: Callable[[Connection, bytes], None]) -> None:
        family, _, _, _, where = socket.getaddrinfo(bind.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        self.socket = socket.create_server(where[:2], family=family, backlog=_BACKLOG)
        # Who knocked may be gone and forgotten: then the door is not to wait for the next one.
        self.socket.setblocking(False)
        self._let_in = let_in
        port = self.socket.getsockname()[1]
        self.address = Address(host.strip("[]"), port, secrets.token_bytes(32))

    def answer(self) -> None:
        """Let in who knocks, if it knows the secret, without waiting for it."""
        try:
            knocking, _ = self.socket.accept()
        except OSError:
            # Who knocked has gone already.
            return
        Thread(target=self._meet, args=(knocking,), daemon=True).start()

    def _meet(self, knocking: socket.socket) -> None:
        with knocking:
            try:
                connection = _connection(knocking, _STUCK_S)
            except OSError:
                # Some systems set no options once the other end is gone.
                return
        try:
            with _recognising():
                deliver_challenge(connection, self.address.secret)
                answer_challenge(connection, self.address.secret)
            first = connection.recv_bytes()
        except LOST:
            connection.close()
        else:
            self._let_in(connection, first)

    def close(self) -> None:
        """Listen no longer. Who knocks already is sent home."""
        self.socket.close()


@contextmanager
def _recognising() -> Iterator[None]:
    """Context of a handshake: AuthenticationError for whatever a stranger's words lead to."""
    try:
        yield
    except (AssertionError, ValueError) as error:
        raise AuthenticationError(f"no handshake: {error}") from error


def _connection(joined: socket.socket, patience_s: int) -> Connection[Any, Any]:
    joined.settimeout(None)
    # Messages of a pass are small, and each is waited for.
    joined.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, seconds in ((socket.SO_SNDTIMEO, _STUCK_S), (socket.SO_RCVTIMEO, patience_s)):
        wanted = seconds * 1000 if sys.platform == "win32" else struct.pack("ll", seconds, 0)
        joined.setsockopt(socket.SOL_SOCKET, option, wanted)
    # During a pass nothing travels: what lies between must not take the connection for dead, and
    # one that is must be noticed.
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, number in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            joined.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)
    return Connection(joined.detach())
