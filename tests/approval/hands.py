"""Clocks that tests move, and what else services of tests are made of."""

from __future__ import annotations

KEY = b"k" * 32
EMPTIED = (
    "approval_messages",
    "approval_nonces",
    "approver_keys",
    "approval_grant_votes",
    "approval_grants",
    "approval_votes",
    "approvals",
)


class Hands:
    """Two clocks that tests move; the boot is `boot-1`."""

    def __init__(self) -> None:
        self.wall = 1_764_115_200_000
        self.monotonic = 1000.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic

    def forward(self, seconds: float) -> None:
        self.wall += int(seconds * 1000)
        self.monotonic += seconds
