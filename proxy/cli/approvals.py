"""`briefcased approvals`: look at what agents ask for, and say yes or no. A client of the control API."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli.agents import JsonOption
from proxy.cli.api_client import ApiError, TokenFileOption, UrlOption, api_client
from proxy.cli.approval_card import card, line

if TYPE_CHECKING:
    from proxy.cli.api_client import ApiClient

app = typer.Typer(help="Decide about calls that need a person's yes.", no_args_is_help=True)
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
    query = "" if all_ else f"?state={_plain(state or 'pending')}"
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
    detail = api_client(url, token_file).call("GET", f"/approvals/{_plain(id_)}")
    _json(detail) if as_json else _print(detail)


@app.command("approve")
def approve(
    id_: IdArgument,
    reason: ReasonOption = "",
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say yes: the very same call may then be made once."""
    _said(_vote(api_client(url, token_file), id_, approve=True, reason=reason), as_json=as_json)


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
def watch(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """Follow approvals as they come; on a terminal, decide about each. End with Ctrl-C."""
    client = api_client(url, token_file)
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    since: str | None = None
    while True:  # a stream that ends is asked for again, from where it ended
        for id_, approval in client.events("/approval-events", since):
            since = id_
            sys.stdout.write((orjson.dumps(approval).decode() if as_json else line(approval)) + "\n")
            sys.stdout.flush()
            if asks and approval["state"] == "pending":
                _ask(client, approval["id"])


def _ask(client: ApiClient, id_: str) -> None:
    """Show one, and ask on the terminal; only the whole word says yes."""
    try:
        detail = client.call("GET", f"/approvals/{_plain(id_)}")
        if detail["approval"]["state"] != "pending":
            return
        _print(detail)
        answer = typer.prompt(f"{YES}, {NO} or {LATER}", default=LATER)
        if answer in (YES, NO):
            reason = typer.prompt("reason", default="")
            _said(_vote(client, id_, approve=answer == YES, reason=reason), as_json=False)
    except ApiError as error:  # somebody else was faster
        sys.stderr.write(f"{error}\n")


def _vote(client: ApiClient, id_: str, *, approve: bool, reason: str) -> Any:
    return client.call("POST", f"/approvals/{_plain(id_)}/votes", {"approve": approve, "reason": reason})


def _said(detail: Any, *, as_json: bool) -> None:
    if as_json:
        _json(detail)
        return
    approval = detail["approval"]
    given = f"{len(approval['approvers'])} of {approval['needs']} approvers"
    sys.stdout.write(f"{approval['id']} {approval['state']} ({given})\n")


def _plain(word: str) -> str:
    """An id or a state, as part of a path: nothing else is sent."""
    if not word.replace("_", "").replace("-", "").isascii() or not word.replace("_", "").replace("-", "").isalnum():
        raise ApiError("not_found", "there is no such approval")
    return word


def _print(detail: Any) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(card(detail), end="")


def _json(value: object) -> None:
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
