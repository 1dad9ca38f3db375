"""`briefcased approvals grants`: standing grants, and the options that make one along with a yes."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli.agents import JsonOption
from proxy.cli.api_client import ApiError, TokenFileOption, UrlOption, api_client, in_path
from proxy.cli.approval_card import safe
from proxy.cli.approval_signing import KeyIdOption, KeyOption, ShownOption, SignWithOption, agreed, hand
from proxy.cli.words import duration_s
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.grants import Scope, Terms
    from proxy.approval.statement import Wish

app = typer.Typer(help="Standing grants: what may be called without asking each time.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="The grant's id.")]
ForOption = Annotated[
    str | None, typer.Option("--for", help="Also let further calls go for so long: 15m, 1h, at most 24h.")
]
UsesOption = Annotated[int | None, typer.Option("--uses", help="How many; 1 unless said.")]
PathOption = Annotated[
    str | None, typer.Option("--path", help="Of which paths, * for one segment; the very one unless said.")
]
CostOption = Annotated[
    str | None, typer.Option("--cost", help="The most that one may cost, US dollars; as the first one unless said.")
]
MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of a grant, as they were given."""

    for_: str | None
    uses: int | None
    path: str | None
    cost: str | None

    def wish(self, card: Mapping[str, Any]) -> Wish | None:
        """The grant that goes with a yes to `card`; None where none is wished for. Raises `BriefcaseError`."""
        from proxy.approval.statement import Wish

        if self.for_ is None:
            if (self.uses, self.path, self.cost) != (None, None, None):
                raise BriefcaseError("a standing grant needs --for")
            return None
        return Wish(self.terms(int(card["cost_microusd"])), self.path or str(card["path"]))

    def terms(self, cost_microusd: int) -> Terms:
        """How long, how often, how expensive. Raises `BriefcaseError`."""
        from proxy.approval.grants import BadTermsError, Terms

        seconds = duration_s(self.for_ or "")
        if seconds is None:
            raise BriefcaseError("--for is a number with s, m, h or d")
        if self.cost is not None:
            cost_microusd = _microusd(self.cost)
        terms = Terms(seconds, self.uses or 1, cost_microusd)
        try:
            terms.check()
        except BadTermsError as error:
            raise BriefcaseError(str(error)) from None
        return terms


def sent(wish: Wish | None) -> dict[str, object] | None:
    """As the API takes it."""
    if wish is None:
        return None
    terms = wish.terms
    limits = {"for_s": terms.for_s, "max_uses": terms.max_uses, "max_cost_microusd": terms.max_cost_microusd}
    return {**limits, "path": wish.path}


def told(wish: Wish, card: Mapping[str, Any]) -> str:
    """What a person is shown before they say yes to it too."""
    where = safe(f"{card['method']} {card['origin']}{wish.path}")
    return f"and grants {_limits(sent(wish) or {})}: {where}, with any query, headers and body\n"


@app.command("list")
def list_(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """List standing grants, the newest first."""
    found = api_client(url, token_file).call("GET", "/approval-grants")["grants"]
    if as_json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for one in found:
        sys.stdout.write(_line(one) + "\n")


@app.command("make")
def make(
    agent: Annotated[str, typer.Option(help="Which agent.")],
    account: Annotated[str, typer.Option(help="provider/account.")],
    operation: Annotated[str, typer.Option(help="profile:operation.")],
    method: Annotated[str, typer.Option(help="HTTP method.")],
    origin: Annotated[str, typer.Option(help="https://host:port.")],
    path: Annotated[str, typer.Option("--path", help="Of which paths, * for one segment.")],
    for_: Annotated[str, typer.Option("--for", help="For how long: 15m, 1h, at most 24h.")],
    uses: UsesOption = None,
    cost: CostOption = None,
    user: Annotated[str | None, typer.Option(help="The user whom the agent acts for; nobody unless said.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a standing grant by itself. It never lets a call go that needs a strong approval."""
    from proxy.approval.statement import Wish

    terms = sent(Wish(Asked(for_, uses, path, cost).terms(0), path))
    where = {"agent": agent, "user": user, "account": account, "operation": operation, "method": method}
    body = {**where, "origin": origin, "terms": terms, "reason": reason}
    _said(api_client(url, token_file).call("POST", "/approval-grants", body), as_json=as_json)


@app.command("second")
def second(
    id_: IdArgument,
    key: KeyOption = None,
    sign_with: SignWithOption = None,
    key_id: KeyIdOption = None,
    shown: ShownOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stand behind a grant of another approver, for calls that need several."""
    client = api_client(url, token_file)
    proof = None
    if (signing := hand(client, key, sign_with, key_id)) is not None:
        found = client.call("GET", "/approval-grants?limit=1000")["grants"]
        grant = next((one for one in found if one["id"] == id_), None)
        if grant is None:
            raise ApiError("not_found", "there is no such grant")
        scope, terms = _scope(grant), _terms(grant)
        text = _whole(scope, terms)
        sys.stdout.write(text)
        agreed(hashlib.sha256(text.encode()).hexdigest(), shown)
        proof = signing.seconded(id_, scope, terms)
    _said(client.call("POST", f"/approval-grants/{in_path(id_, 'grant')}/seconds", {"proof": proof}), as_json=as_json)


@app.command("revoke")
def revoke(id_: IdArgument, url: UrlOption = None, token_file: TokenFileOption = None) -> None:
    """End a standing grant at once."""
    api_client(url, token_file).call("DELETE", f"/approval-grants/{in_path(id_, 'grant')}")
    sys.stdout.write(f"revoked {id_}\n")


def _scope(grant: Mapping[str, Any]) -> Scope:
    from proxy.approval.grants import Scope

    return Scope(**{one.name: grant[one.name] for one in fields(Scope)})


def _terms(grant: Mapping[str, Any]) -> Terms:
    from proxy.approval.grants import Terms

    return Terms(**{one.name: int(grant[one.name]) for one in fields(Terms)})


def _whole(scope: Scope, terms: Terms) -> str:
    """Every member of a grant, one on a line: what is signed is what was shown."""
    both = [(one.name, getattr(of, one.name)) for of in (scope, terms) for one in fields(of)]
    return "".join(f"{name:<18} {safe(value)}\n" for name, value in both)


def _line(grant: Mapping[str, Any]) -> str:
    who = grant["agent"] + (f" for {grant['user']}" if grant["user"] else "")
    where = f"{grant['method']} {grant['origin']}{grant['path']}"
    behind = ", ".join(f"{one} (signed)" if one in grant["signed_by"] else one for one in grant["approvers"])
    used = f"{grant['uses']} used of {_limits(grant)}"
    return "  ".join(safe(part) for part in (grant["id"], f"{grant['state']:<7}", who, where, used, f"by {behind}"))


def _limits(grant: Mapping[str, Any]) -> str:
    cost = f"{int(grant['max_cost_microusd']) / MICRO:.6f}"
    return f"{grant['max_uses']} in {grant['for_s']} s, each at most {cost} US dollars"


def _said(grant: Mapping[str, Any], *, as_json: bool) -> None:
    text = orjson.dumps(grant, option=orjson.OPT_INDENT_2).decode() if as_json else _line(grant)
    sys.stdout.write(text + "\n")


def _microusd(text: str) -> int:
    try:
        return int(Decimal(text) * MICRO)
    except (InvalidOperation, ValueError, OverflowError):
        raise BriefcaseError("--cost is an amount of US dollars") from None
