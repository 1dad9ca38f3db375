"""Why a WebSocket is closed by us. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
"""Source: RFC 6455, section 7.4.1."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Close both sides with `code`; `fault` is what the outcome receipt says."""

    code: int
    fault: str


MESSAGE_TOO_LARGE: Final = Closing(TOO_BIG, "message_too_large")
TOO_MANY_FRAGMENTS: Final = Closing(POLICY_VIOLATION, "too_many_fragments")
NOT_TEXT: Final = Closing(INVALID_DATA, "invalid_message")
MALFORMED: Final = Closing(PROTOCOL_ERROR, "malformed_frame")


class FrameError(Exception):
    """What a peer sent cannot be carried; its text repeats nothing of it."""

    def __init__(self, closing: Closing) -> None:
        super().__init__(closing.fault)
        self.closing: Final = closing
