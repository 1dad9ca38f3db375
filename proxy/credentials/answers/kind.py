"""What every local answer is made of: what was asked, who asks, and the answer, in which stand-ins are. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import orjson
from pydantic import Field

from proxy.documents import Strict
from proxy.errors import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import AccountId, RequestHead

NO_STORE: Final = (b"cache-control", b"no-store")
"""Source: RFC 6749, section 5.1."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An account that the agent may use.

    Attributes:
        variables: its plain values, with the profile's defaults.
        stand_ins: what the agent holds for it, by slot name.
    """

    account: AccountId
    variables: Mapping[str, str]
    stand_ins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is to be answered.

    Attributes:
        params: what the path's placeholders stand for.
        fields: of the query and of a form or JSON object in the body; only texts, the first of a name.
        holder: the account that the request names by a stand-in, else the default one.
        holders: every account of this provider that the agent may use.
        named: whether a stand-in named `holder`.
        now_s: wall clock, seconds since the epoch.
    """

    head: RequestHead
    params: Mapping[str, str]
    fields: Mapping[str, str] = field(repr=False)
    holder: Holder
    holders: tuple[Holder, ...]
    named: bool
    now_s: int

    def holder_with(self, variable: str, value: str) -> Holder | None:
        """The account whose `variable` is `value`; the one that a stand-in names, or the default one, goes first."""
        candidates = (self.holder,) if self.named else (self.holder, *self.holders)
        return next((one for one in candidates if one.variables.get(variable) == value), None)


class AnswerKind(Strict, ABC):
    """A kind of local answer: its fields are the YAML."""

    otherwise: Literal["refuse", "forward"] = Field(
        default="refuse", description="What becomes of a call that this does not answer."
    )

    def slots(self) -> frozenset[str]:
        """The secrets whose stand-ins it gives out."""
        return frozenset()

    def variable_names(self) -> frozenset[str]:
        """The account's variables that it reads."""
        return frozenset()

    def deciding(self) -> frozenset[str]:
        """The fields, in lower case, that say whether it answers: a call that has one of them twice is refused."""
        return frozenset()

    def may_leave(self, asked: Asked) -> bool:
        """Whether a call that is not answered here may go to the provider, where the profile says `forward`."""
        del asked
        return True

    def takes(self, fields: Mapping[str, str]) -> bool:
        """Whether a call with these fields in its body is one of those that are answered here."""
        del fields
        return True

    @abstractmethod
    def answer(self, asked: Asked) -> Answer | None:
        """The answer; None where the call is not one of those that are answered here."""


def json_answer(document: object, *, status: int = 200) -> Answer:
    """A JSON document that nobody keeps."""
    return Answer(status, ((b"content-type", b"application/json"), NO_STORE), orjson.dumps(document))
