"""What the schemas cannot say about usage, prices, budgets and rates. Pure."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from proxy.catalog.template import name_of, parse_template
from proxy.model import TENANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.budget_settings import Budget, Price, Rate, Scope
    from proxy.catalog.schema import Profile
    from proxy.documents import Place
    from proxy.settings import Settings

type Mistake = tuple[Place, str]


def usage_mistakes(profile: Profile) -> Iterator[Mistake]:
    """In what a profile says of usage and prices."""
    for index, operation in enumerate(profile.operations):
        if operation.usage is None:
            continue
        usage = profile.usage.get(operation.usage)
        if usage is None:
            yield ("operations", index, "usage"), "the profile has no usage of this name"
        elif usage.model_param is not None:
            names = {name_of(piece) for piece in parse_template(operation.path)}
            if usage.model_param not in names:
                yield ("operations", index, "usage"), f"its path has no parameter {usage.model_param} for the model"
    for name, usage in profile.usage.items():
        for unit in (*usage.read, *usage.headers):
            if unit not in usage.most and unit not in ("cached_tokens", "cache_write_tokens"):
                yield ("usage", name, "most"), f"nothing says the most of {unit}"
    if profile.prices and (profile.prices_checked is None or profile.prices_docs is None):
        yield ("prices",), "prices stand with prices_checked and prices_docs"
    yield from _prices(profile.prices, ("prices",))


def budget_mistakes(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """In `budgets:`, `rates:` and `prices:`."""
    blocks: dict[str, tuple[Budget | Rate, ...]] = {"budgets": settings.budgets, "rates": settings.rates}
    for block, limits in blocks.items():
        seen: set[str] = set()
        for index, limit in enumerate(limits):
            if limit.name in seen:
                yield (block, index, "name"), "this name stands twice"
            seen.add(limit.name)
            for place, message in _scope(limit.match, settings, profiles):
                yield (block, index, "match", place), message
    zones = available_timezones() if any(budget.zone != "UTC" for budget in settings.budgets) else {"UTC"}
    for index, budget in enumerate(settings.budgets):
        if budget.zone not in zones:
            yield ("budgets", index, "zone"), "there is no time zone of this name"
    for name, prices in settings.prices.items():
        if name not in settings.providers:
            yield ("prices", name), "no profile of this name is enabled"
        yield from _prices(prices, ("prices", name))


def _scope(scope: Scope, settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[tuple[str, str]]:
    """Names that no call can have: a limit that never counts anything."""
    enabled = {name: profiles[name] for name in settings.providers if name in profiles}
    accounts = {f"{name}/{account}" for name, entry in settings.providers.items() for account in entry.accounts}
    operations = {f"{name}:{one.id}" for name, profile in enabled.items() for one in profile.operations}
    known = {
        "tenant": (set(settings.tenants) or {TENANT}, "tenant"),
        "account": (accounts, "account"),
        "provider": ({profile.provider or name for name, profile in enabled.items()}, "enabled provider"),
        "profile": (set(enabled), "enabled profile"),
        "operation": (operations, "operation of an enabled profile"),
    }
    for name, (values, what) in known.items():
        value = getattr(scope, name)
        if value is not None and value not in values:
            yield name, f"there is no {what} of this name"
    for name, parties in (("agent", settings.agents), ("user", settings.users)):
        value = getattr(scope, name)
        if value is not None and parties and value not in parties:
            yield name, f"there is no {name} of this name"
    yield from _foreign(scope, settings)


def _foreign(scope: Scope, settings: Settings) -> Iterator[tuple[str, str]]:
    """Names that belong to another tenant than the one that is named beside them."""
    if scope.tenant is None:
        return
    provider, _, account = (scope.account or "").partition("/")
    accounts = settings.providers[provider].accounts if provider in settings.providers else {}
    owners = {
        "account": accounts[account].tenant if account in accounts else None,
        "agent": settings.agents[scope.agent].tenant if scope.agent in settings.agents else None,
        "user": settings.users[scope.user].tenant if scope.user in settings.users else None,
    }
    for name, owner in owners.items():
        if owner is not None and owner != scope.tenant:
            yield name, f"this {name} is another tenant's"


def _prices(prices: Iterable[Price], place: Place) -> Iterator[Mistake]:
    seen: set[tuple[str, str]] = set()
    for index, price in enumerate(prices):
        if (price.model, price.valid_from) in seen:
            yield (*place, index), "this model has this day twice"
        seen.add((price.model, price.valid_from))
        if "*" in price.model[:-1]:
            yield (*place, index, "model"), "* stands at the end alone"
        try:
            date.fromisoformat(price.valid_from)
        except ValueError:
            yield (*place, index, "valid_from"), "there is no such day"
