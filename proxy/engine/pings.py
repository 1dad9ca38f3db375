"""Pings and pongs: liveness passes from end to end, what a provider writes into them does not reach the agent (P1)."""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED: Final = 16
NUMBER_BYTES: Final = 4


class Pings:
    """The pings under way on one WebSocket. Each method takes a payload and gives the one that leaves."""

    def __init__(self) -> None:
        self._count = 0
        self._of_provider: Final[deque[tuple[bytes, bytes]]] = deque(maxlen=REMEMBERED)
        self._of_agent: Final[deque[bytes]] = deque(maxlen=REMEMBERED)

    def of_provider(self, payload: bytes) -> bytes:
        """A provider's ping reaches the agent with a number instead of its payload."""
        self._count = (self._count + 1) % 2 ** (8 * NUMBER_BYTES)
        number = self._count.to_bytes(NUMBER_BYTES)
        self._of_provider.append((number, payload))
        return number

    def answer_of_agent(self, payload: bytes) -> bytes:
        """The agent's pong gets back the payload that belongs to its number; a pong nobody asked for stays as it is."""
        return next((theirs for number, theirs in self._of_provider if number == payload), payload)

    def of_agent(self, payload: bytes) -> bytes:
        """The agent's ping passes as it is."""
        self._of_agent.append(payload)
        return payload

    def answer_of_provider(self, payload: bytes) -> bytes:
        """A provider's pong passes where it repeats a ping of the agent, else without its payload."""
        return payload if payload in self._of_agent else b""
