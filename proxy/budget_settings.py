"""The blocks `budgets:` and `rates:` of `briefcased.yaml`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from proxy.documents import Strict
from proxy.model import Action  # noqa: TC001  # pydantic needs it at run time

type Dimension = Literal[
    "tenant", "agent", "group", "user", "account", "provider", "profile", "operation", "action", "task"
]
DIMENSIONS: Final[tuple[str, ...]] = get_args(Dimension.__value__)
USD: Final = "usd"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Unit = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="usd, requests, input_tokens, output_tokens, cached_tokens, bytes, or a unit of a profile.",
    ),
]


class Scope(Strict):
    """Which calls are counted: all that is given must hold; nothing given is every call."""

    tenant: str | None = None
    agent: str | None = None
    group: str | None = None
    user: str | None = None
    account: str | None = Field(default=None, description="provider/name.")
    provider: str | None = None
    profile: str | None = None
    operation: str | None = Field(default=None, description="profile:operation.")
    action: Annotated[Action, Field(strict=False)] | None = None
    task: str | None = None


class SoftLimit(Strict):
    """What happens before the limit is reached."""

    at: Annotated[float, Field(gt=0, lt=1)] = Field(description="The share of the limit that is used.")
    then: Literal["warn", "approval"]


class Budget(Strict):
    """An amount that is not overshot, however many requests run at a time."""

    name: Name
    unit: Unit = "usd"
    limit: int | str = Field(description='A whole number; for usd an amount as text, "25.00".')
    window: Literal["hour", "day", "week", "month", "lifetime"] | int = Field(
        default="day", description="Of the calendar; or the last so many seconds."
    )
    zone: str = Field(default="UTC", description="Time zone of the calendar, as `Europe/Zurich`.")
    match: Scope = Scope()
    each: tuple[Dimension, ...] = Field(default=(), description="Every value of these has an amount of its own.")
    soft: tuple[SoftLimit, ...] = ()
    over: Literal["refuse", "approval"] = Field(
        default="refuse", description="What happens beyond the limit; `approval` asks a person each time."
    )
    unmetered: Literal["free", "refuse"] = Field(
        default="free",
        description="Calls that may change something, and of which the profile does not say how much of the unit they "
        "use: they count as nothing, or are refused.",
    )

    @model_validator(mode="after")
    def _amount(self) -> Self:
        if self.unit == USD:
            if not isinstance(self.limit, str) or not _is_money(self.limit):
                raise ValueError('an amount in US dollars is text with at most six decimals, as "25.00"')
        elif not isinstance(self.limit, int) or not 0 <= self.limit <= LARGEST:
            raise ValueError("a whole number, from 0")
        if isinstance(self.window, int) and not 1 <= self.window <= MAX_SLIDING_S:
            raise ValueError(f"a sliding window is 1 to {MAX_SLIDING_S} seconds long")
        return self

    @property
    def amount(self) -> int:
        """The limit as a whole number: of micro-dollars, or of the unit."""
        return int(Decimal(self.limit) * 1_000_000) if isinstance(self.limit, str) else self.limit


class Rate(Strict):
    """How fast calls may follow each other."""

    name: Name
    calls: Annotated[int, Field(ge=1, le=1_000_000)]
    per_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=1, description="Calls that may come at once.")
    match: Scope = Scope()
    each: tuple[Dimension, ...] = ("agent",)


class Price(Strict):
    """What a model costs from a day on."""

    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Its name; with * at the end, every name that begins so. The longest that fits counts."
    )
    valid_from: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = "1970-01-01"
    per_million: Annotated[dict[Unit, Annotated[int, Field(ge=0, le=10**15)]], Field(min_length=1)] = Field(
        description="Micro-dollars for a million of each unit: 3000000 is 3 dollars."
    )
    long_from: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="With this much input, cached or not, the whole call has the other price."
    )
    long_per_million: dict[Unit, Annotated[int, Field(ge=0, le=10**15)]] = {}


LARGEST: Final = 2**53 - 1
MAX_SLIDING_S: Final = 31 * 86_400


def _is_money(text: str) -> bool:
    whole, point, decimals = text.partition(".")
    digits = whole.isascii() and whole.isdigit() and len(whole) <= 9  # noqa: PLR2004  # below LARGEST micro-dollars
    return digits and (not point or (decimals.isascii() and decimals.isdigit() and len(decimals) <= 6))  # noqa: PLR2004
