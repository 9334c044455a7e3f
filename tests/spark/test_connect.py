"""A session that is connected to Spark's driver in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_connect_session_gives_the_bits_of_the_dask_engine(workers_environment, tmp_path):
    pytest.importorskip("grpc_status", reason="Spark Connect needs grpcio-status")
    # A process of its own, since one cannot have both kinds of sessions.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("connect_session.py"))],
        env={**os.environ, **workers_environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("same")
