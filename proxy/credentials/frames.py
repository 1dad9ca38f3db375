"""`kind: frames`: one field of a JSON message on a WebSocket, as Discord's Identify. See docs/credentials/frames.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, override

from pydantic import Field

from proxy.credentials.json_place import place_of
from proxy.credentials.kind import Kind, SecretName, as_utf8
from proxy.documents import Strict

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.credentials.standin import StandIns

Pointer = Annotated[str, Field(pattern=r"^(/([^~/]|~0|~1)*)+$", max_length=256)]
MAX_PARSED_BYTES: Final = 1024 * 1024
"""A larger message is no login; it passes as it is."""


class FrameRule(Strict):
    """Where the secret stands, and in which messages."""

    pointer: Pointer = Field(description="JSON pointer (RFC 6901) of the field, such as `/d/token`.")
    when: dict[Pointer, str | int | bool] = Field(
        default={}, description="Values that the same message must have, by JSON pointer: `{/op: 2}`."
    )


class FramesCredential(Kind):
    """Puts the secret where a stand-in is the whole value of a named field of the agent's text messages."""

    kind: Literal["frames"]
    secret: SecretName
    rules: Annotated[tuple[FrameRule, ...], Field(min_length=1)]
    opt_in: ClassVar[bool] = True

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret})

    def rewriter(self, credential: Credential, stand_ins: StandIns, own: str | None) -> FrameRewriter:
        """What rewrites the messages of one WebSocket; `own` is the agent's stand-in for this secret."""
        return FrameRewriter(self.rules, as_utf8(credential.text(self.secret)), stand_ins, own)


class FrameRewriter:
    """Rewrites the text messages of one agent on one WebSocket."""

    def __init__(self, rules: tuple[FrameRule, ...], value: str, stand_ins: StandIns, own: str | None) -> None:
        self._rules: Final = rules
        self._literal: Final = json.dumps(value)
        self._stand_ins: Final = stand_ins
        self._own: Final = own

    def __repr__(self) -> str:
        return f"FrameRewriter({len(self._rules)} rules)"

    def rewritten(self, content: bytes) -> bytes | None:
        """`content` (valid UTF-8) with the secret in its place, itself where nothing is to be done.

        None where the field holds a stand-in that is not this account's and agent's own.
        """
        if len(content) > MAX_PARSED_BYTES or not self._stand_ins.within(text := content.decode()):
            return content
        for rule in self._rules:
            place = place_of(text, rule.pointer)
            if place is None or not isinstance(place.value, str) or not self._stand_ins.knows(place.value):
                continue
            if not all(_holds(text, pointer, wanted) for pointer, wanted in rule.when.items()):
                continue
            if place.value != self._own:
                return None
            return f"{text[: place.start]}{self._literal}{text[place.end :]}".encode()
        return content


def _holds(text: str, pointer: str, wanted: str | int | bool) -> bool:  # noqa: FBT001  # a JSON value
    place = place_of(text, pointer)
    return place is not None and type(place.value) is type(wanted) and place.value == wanted
