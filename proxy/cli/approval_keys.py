"""`briefcased approvals keys`: what approvers sign with. Private keys stay where they are."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli.agents import JsonOption
from proxy.cli.api_client import TokenFileOption, UrlOption, api_client, in_path
from proxy.cli.approval_card import safe
from proxy.cli.approval_signing import Hand, KeyIdOption, KeyOption, SignWithOption, hand
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from proxy.cli.api_client import ApiClient

app = typer.Typer(help="Keys that approvers sign with.", no_args_is_help=True)
LIKE_AN_OPTION = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""For commands that take the id of a key: one in 64 begins with a hyphen, and one in 4096 as the option `-h` does."""
IdArgument = Annotated[str, typer.Argument(help="The key's id: its RFC 7638 thumbprint.")]


@app.command("new")
def new(file: Annotated[Path, typer.Argument(help="Where the private key goes; it must not exist.")]) -> None:
    """Make an Ed25519 key in a file that only you can read."""
    from proxy.keys.software import generate

    signer = generate("Ed25519")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(signer.pem())
    except OSError as error:
        raise BriefcaseError(f"{file}: {error.strerror or 'cannot be written'}") from None
    sys.stdout.write(f"{signer.public.thumbprint}\n")
    sys.stderr.write(f"Wrote {file}. Register it: briefcased approvals keys add --key {shlex.quote(str(file))}\n")


@app.command("add")
def add(
    key: KeyOption = None,
    sign_with: SignWithOption = None,
    public: Annotated[Path | None, typer.Option(help="The public key of the command, PEM or JWK.")] = None,
    label: Annotated[str, typer.Option(help="What it is called in lists.")] = "",
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a key of your own. It counts once an admin has confirmed it."""
    from proxy.approval.key_statements import registration

    client = api_client(url, token_file)
    mine = _mine(client, key, sign_with, public)
    proof = mine.proof(partial(registration, key=mine.key, approver=mine.name))
    del proof["key"]
    body = {"jwk": dict(mine.public or {}), "label": label, "proof": proof}
    _said(client.call("POST", "/approver-keys", body), as_json=as_json)


@app.command("list")
def list_(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """List the keys of approvers, the oldest first."""
    keys = api_client(url, token_file).call("GET", "/approver-keys")["keys"]
    if as_json:
        sys.stdout.write(orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    for one in keys:
        _said(one, as_json=False)


@app.command("confirm", context_settings=LIKE_AN_OPTION)
def confirm(
    id_: IdArgument,
    approver: Annotated[str, typer.Argument(help="Whose key it is, as you have made sure.")],
    key: KeyOption = None,
    sign_with: SignWithOption = None,
    key_id: KeyIdOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a key of another count: at the machine itself, or with a signature of your own key."""
    client = api_client(url, token_file)
    signing = hand(client, key, sign_with, key_id)
    body = {"approver": approver, "proof": signing.confirmed(id_, approver) if signing is not None else None}
    _said(client.call("POST", f"/approver-keys/{in_path(id_, 'key')}/confirmations", body), as_json=as_json)


@app.command("revoke", context_settings=LIKE_AN_OPTION)
def revoke(id_: IdArgument, url: UrlOption = None, token_file: TokenFileOption = None) -> None:
    """Revoke a key, and what it has said: its votes, and the standing grants made with it."""
    ended = api_client(url, token_file).call("DELETE", f"/approver-keys/{in_path(id_, 'key')}")["grants_ended"]
    sys.stdout.write(f"revoked {id_}, and {ended} grants made with it\n")


def _mine(client: ApiClient, key: Path | None, sign_with: str | None, public: Path | None) -> Hand:
    """The key to register, with its public half."""
    from proxy.approval.signing import public_in

    known = public_in(public) if public is not None else None
    signing = hand(client, key, sign_with, known.thumbprint if known is not None else None)
    if signing is None:
        raise BriefcaseError("which key? --key FILE, or --sign-with COMMAND and --public FILE")
    if signing.public is not None:
        return signing
    if known is None:
        raise BriefcaseError("--sign-with needs --public FILE here")
    return Hand(signing.name, known.thumbprint, signing.sign, known.jwk)


def _said(key: Any, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(key, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    by = f"confirmed by {key['confirmed_by']}" if key["confirmed_by"] else ""
    parts = (key["id"], f"{key['state']:<8}", f"{key['approver']:<20}", key["label"], by)
    sys.stdout.write("  ".join(safe(part) for part in parts).rstrip() + "\n")
