"""How a profile says what its calls use: `usage:` and `prices:`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.budget_settings import Unit  # noqa: TC001  # pydantic needs it at run time
from proxy.documents import Strict

Pointer = Annotated[str, Field(pattern=r"^(/[^/]*)+$", max_length=200, description="RFC 6901.")]
Count = Annotated[int, Field(ge=0, le=10**12)]


class Most(Strict):
    """The most of one unit that a call may use: the sum of what is given, times `times`, never more than `cap` each.

    A body that cannot be read in one way only counts as `cap`, times `max_times`.
    """

    fixed: Count = 0
    per_body_byte: Annotated[int, Field(ge=0, le=1000)] = 0
    field: tuple[Pointer, ...] = Field(default=(), description="A whole number in the body: the largest there is.")
    default: Count = Field(default=0, description="Where the body has none of the fields.")
    entries: tuple[Pointer, ...] = Field(default=(), description="Lists in the body: how many entries they have.")
    cap: Count
    cap_if: tuple[Pointer, ...] = Field(
        default=(), description="Where the body has one of these, more counts than it shows: the cap is reserved."
    )
    times: tuple[Pointer, ...] = Field(default=(), description="A whole number in the body that multiplies it.")
    max_times: Annotated[int, Field(ge=1, le=10_000)] = 1


class Usage(Strict):
    """What calls of an operation use, and where the answer tells it."""

    model: Pointer | None = Field(default=None, description="Where the body names the model, for its price.")
    model_param: str | None = Field(default=None, description="Or the path parameter that does, up to a colon.")
    most: dict[Unit, Most] = {}
    read: dict[Unit, tuple[Pointer, ...]] = Field(
        default={}, description="Where the answer, or an event of a stream, tells it; the last one counts."
    )
    add: dict[Unit, tuple[Pointer, ...]] = Field(
        default={}, description="What is told apart, and counts to the unit; added where it stands beside it."
    )
    headers: dict[Unit, str] = Field(default={}, description="Or the header of the answer that does.")
    grows: tuple[Unit, ...] = Field(
        default=(), description="Units whose number grows within a stream: where it is cut short, the reserve counts."
    )
    includes_cached: bool = Field(default=False, description="cached_tokens are among the input_tokens.")
    unbilled: tuple[Annotated[int, Field(ge=400, le=599)], ...] = Field(
        default=(), description="Statuses with which the provider refuses, and uses nothing but the request."
    )
