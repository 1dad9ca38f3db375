"""`briefcased approvals`: look at what agents ask for, and say yes or no. A client of the control API."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import orjson
import typer

from proxy.cli import approval_grants, approval_keys
from proxy.cli.agents import JsonOption
from proxy.cli.api_client import ApiError, TokenFileOption, UrlOption, api_client, in_path
from proxy.cli.approval_card import card, line, safe
from proxy.cli.approval_grants import Asked as GrantAsked
from proxy.cli.approval_grants import CostOption, ForOption, PathOption, UsesOption, sent, told
from proxy.cli.approval_signing import (
    KeyIdOption,
    KeyOption,
    ShownOption,
    SignWithOption,
    agreed,
    card_digest_of,
    hand,
)

if TYPE_CHECKING:
    from proxy.approval.statement import Wish
    from proxy.cli.api_client import ApiClient
    from proxy.cli.approval_signing import Hand

app = typer.Typer(help="Decide about calls that need a person's yes.", no_args_is_help=True)
app.add_typer(approval_keys.app, name="keys")
app.add_typer(approval_grants.app, name="grants")
IdArgument = Annotated[str, typer.Argument(help="The approval's id.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]
YES, NO, LATER = "approve", "reject", "skip"


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="Only those in this state; pending unless said.")] = "pending",
    all_: Annotated[bool, typer.Option("--all", help="Of every state.")] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List approvals, the newest first."""
    query = "" if all_ else f"?state={in_path(state or 'pending', 'approval')}"
    found = api_client(url, token_file).call("GET", f"/approvals{query}")["approvals"]
    if as_json:
        _json(found)
        return
    for one in found:
        sys.stdout.write(line(one) + "\n")


@app.command("show")
def show(
    id_: IdArgument, url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False
) -> None:
    """Show the whole request of one approval; what could deceive the eye is spelt out."""
    detail = _detail(api_client(url, token_file), id_)
    _json(detail) if as_json else _print(detail)


@app.command("approve")
def approve(
    id_: IdArgument,
    reason: ReasonOption = "",
    key: KeyOption = None,
    sign_with: SignWithOption = None,
    key_id: KeyIdOption = None,
    shown: ShownOption = None,
    for_: ForOption = None,
    uses: UsesOption = None,
    path: PathOption = None,
    cost: CostOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say yes: the very same call may then be made once. With a key the request is shown first, and signed."""
    client, asked = api_client(url, token_file), GrantAsked(for_, uses, path, cost)
    signing = hand(client, key, sign_with, key_id)
    if signing is None and asked.for_ is None:
        asked.wish({})
        _said(_vote(client, id_, approve=True, reason=reason), as_json=as_json)
        return
    detail = _detail(client, id_)
    wish = asked.wish(detail["card"])
    if signing is not None:
        _print(detail, sys.stderr if as_json else sys.stdout)
        if wish is not None:
            (sys.stderr if as_json else sys.stdout).write(told(wish, detail["card"]))
        agreed(card_digest_of(detail), shown)
    _said(_signed_yes(client, detail, signing, wish, reason), as_json=as_json)


@app.command("reject")
def reject(
    id_: IdArgument,
    reason: ReasonOption = "",
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say no; near-identical calls are refused for a time as well."""
    _said(_vote(api_client(url, token_file), id_, approve=False, reason=reason), as_json=as_json)


@app.command("watch")
def watch(
    key: KeyOption = None,
    sign_with: SignWithOption = None,
    key_id: KeyIdOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow approvals as they come; on a terminal, decide about each, and sign with a key. End with Ctrl-C."""
    client = api_client(url, token_file)
    signing = hand(client, key, sign_with, key_id)
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    since: str | None = None
    while True:  # a stream that ends is asked for again, from where it ended
        for id_, approval in client.events("/approval-events", since):
            since = id_
            sys.stdout.write((orjson.dumps(approval).decode() if as_json else line(approval)) + "\n")
            sys.stdout.flush()
            if asks and approval["state"] == "pending":
                _ask(client, approval["id"], signing)


def _ask(client: ApiClient, id_: str, signing: Hand | None) -> None:
    """Show one, and ask on the terminal; only the whole word says yes."""
    try:
        detail = _detail(client, id_)
        if detail["approval"]["state"] != "pending":
            return
        _print(detail)
        answer = typer.prompt(f"{YES}, {NO} or {LATER}", default=LATER)
        if answer in (YES, NO):
            reason = typer.prompt("reason", default="")
            if answer == YES:
                _said(_signed_yes(client, detail, signing, None, reason), as_json=False)
            else:
                _said(_vote(client, id_, approve=False, reason=reason), as_json=False)
    except ApiError as error:  # somebody else was faster
        sys.stderr.write(f"{error}\n")


def _detail(client: ApiClient, id_: str) -> Any:
    """The approval `id_` and no other. Raises `ApiError`."""
    detail = client.call("GET", f"/approvals/{in_path(id_, 'approval')}")
    if detail["approval"]["id"] != id_:
        raise ApiError("unknown", "the control API answered with another approval")
    return detail


def _vote(client: ApiClient, id_: str, *, approve: bool, reason: str, **more: object) -> Any:
    return client.call(
        "POST", f"/approvals/{in_path(id_, 'approval')}/votes", {"approve": approve, "reason": reason, **more}
    )


def _signed_yes(client: ApiClient, detail: Any, signing: Hand | None, wish: Wish | None, reason: str) -> Any:
    """Send the yes to what `detail` showed, signed where there is something to sign with."""
    proof = signing.answer(detail, wish) if signing is not None else None
    return _vote(client, detail["approval"]["id"], approve=True, reason=reason, proof=proof, grant=sent(wish))


def _said(detail: Any, *, as_json: bool) -> None:
    if as_json:
        _json(detail)
        return
    approval = detail["approval"]
    given = f"{len(approval['approvers'])} of {approval['needs']} approvers"
    with_grant = f", with the standing grant {detail['grant']}" if detail["grant"] else ""
    sys.stdout.write(safe(f"{approval['id']} {approval['state']} ({given}){with_grant}") + "\n")


def _print(detail: Any, out: TextIO | None = None) -> None:
    """The card, and its digest: what a signature is about."""
    from rich.console import Console

    console = Console(file=out or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(card(detail, width=console.width if console.is_terminal else None), end="")
    (out or sys.stdout).write(f"\ndigest     {card_digest_of(detail)}\n")


def _json(value: object) -> None:
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
