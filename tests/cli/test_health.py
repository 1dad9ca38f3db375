"""`briefcased health` without a sidecar, with answers that are none, and at next to no cost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READY = b'HTTP/1.0 200 OK\r\n\r\n{"ready": true, "checks": {"listening": true}}'


def health(home, *options, flags=()):
    environment = {"PATH": os.environ["PATH"], "BRIEFCASED_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *flags, "-m", "proxy", "health", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def answering(tmp_path):
    """Writes down a sidecar whose control listener answers every connection with the given bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    said = [b""]

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(said[0])

    threading.Thread(target=serve, daemon=True).start()
    state = {"pid": os.getpid(), "proxy": "", "control": f"0.0.0.0:{server.getsockname()[1]}"}
    (tmp_path / "sidecar.json").write_text(json.dumps(state))

    def answer(text):
        said[0] = text
        return tmp_path

    yield answer
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (READY, 0, "ready\n"),
        (b'HTTP/1.0 503 x\r\n\r\n{"ready": false, "checks": {"listening": true, "receipts_writable": false}}', 1,
         "not ready: receipts_writable\n"),
        (b'HTTP/1.0 503 x\r\n\r\n{"ready": true, "checks": {}}', 1, "ready\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", 1, ""),
        (b"HTTP/1.0 200 OK\r\n\r\n{", 1, ""),
        (b"nonsense", 1, ""),
        (b"", 1, ""),
    ],
)  # fmt: skip
def test_p5_only_a_whole_yes_is_healthy(answering, answer, code, said):
    done = health(answering(answer))
    assert (done.returncode, done.stdout) == (code, said), done.stderr
    assert bool(done.stderr) == (said == ""), "a reason is given"


@pytest.mark.parametrize(
    "state", [None, "", "{}", '{"pid": "x", "control": "127.0.0.1:1"}', '{"pid": 0, "control": 7}', "[1]"]
)
def test_p5_without_a_sidecar_it_fails_in_one_line(tmp_path, state):
    if state is not None:
        (tmp_path / "sidecar.json").write_text(state)
    done = health(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_health_check_loads_none_of_the_other_commands(answering):
    home = answering(READY)
    loaded = health(home, flags=("-X", "importtime")).stderr
    assert "proxy.health" in loaded
    assert [
        name for name in ("pydantic", "typer", "sqlalchemy", "asyncio", "http.client") if f" {name}\n" in loaded
    ] == []
    assert " typer\n" in health(home, "--json", flags=("-X", "importtime")).stderr, "it would be seen"
