"""Whether the sidecar of a state directory is ready, asked without loading anything.

A health check runs every few seconds for as long as a container lives, and the other commands take more than a second
of processor time to load. So only light parts of the standard library are imported here, and `briefcased health`
without options is answered before anything else is loaded.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE: Final = "sidecar.json"
HOME: Final = "BRIEFCASED_HOME"
TIMEOUT_S: Final = 3.0
READY: Final = 200
MAX_ANSWER_BYTES: Final = 64 * 1024
ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where a listener on every address is reached
LIVE_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"


class Unhealthy(Exception):  # noqa: N818  # an answer, not a fault
    """There is no sidecar, or it does not answer; the text says which."""


def answer_at_once(arguments: list[str]) -> None:
    """Answer `briefcased health` and exit, where `arguments` (a `sys.argv`) ask for just that and the home is named."""
    home = os.environ.get(HOME)
    if arguments[1:] != ["health"] or not home:
        return
    try:
        status, answer = ask(home, READY_PATH)
    except Unhealthy as error:
        sys.exit(f"briefcased: {error}")
    sys.stdout.write(f"{said(answer)}\n")
    sys.exit(0 if status == READY else 1)


def ask(home: str, path: str) -> tuple[int, Mapping[str, object]]:
    """Status and JSON object of the control listener of the sidecar that runs with this state directory.

    Raises:
        Unhealthy: none runs, or it does not answer within `TIMEOUT_S`.
    """
    control = _control(home)
    host, _, port = control.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((ANY.get(host, host), int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {control}\r\n\r\n".encode())
            head, _, body = _all(connection).partition(b"\r\n\r\n")
        status, answer = int(head.split(b" ", 2)[1]), json.loads(body)
    except (OSError, ValueError, IndexError):
        raise Unhealthy(f"the control listener {control} does not answer") from None
    if not isinstance(answer, dict):
        raise Unhealthy(f"the control listener {control} does not answer as expected")
    return status, answer


def said(answer: Mapping[str, object]) -> str:
    """One line for what `/readyz` answered."""
    checks = answer.get("checks")
    bad = [str(name) for name, good in checks.items() if good is not True] if isinstance(checks, dict) else ["unknown"]
    details = answer.get("details")
    waiting = details.get("waiting") if isinstance(details, dict) else None
    return ("ready" if answer.get("ready") is True else f"not ready: {', '.join(bad)}") + (
        f"; {waiting}" if waiting else ""
    )


def _control(home: str) -> str:
    """The control listener's HOST:PORT, as the running sidecar wrote it down (`proxy/cli/state.py`)."""
    try:
        with open(os.path.join(home, STATE), "rb") as file:  # noqa: PTH118, PTH123  # pathlib takes longer to load
            state = json.load(file)
        os.kill(state["pid"], 0)
        return str(state["control"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Unhealthy(f"no sidecar runs with the state directory {home}; start one: briefcased up") from None


def _all(connection: socket.socket) -> bytes:
    """What comes until the other side closes; the timeout holds for each wait."""
    received = b""
    while len(received) < MAX_ANSWER_BYTES and (piece := connection.recv(MAX_ANSWER_BYTES)):
        received += piece
    return received
