"""Signing on the approver's own machine. What is signed is built here from what the person was shown.

The API is not believed: a signature covers the digest of the very card that stood on the screen, so that whoever lies
about a request gets a signature that is worth nothing for another.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.approval.grants import Scope, Terms
    from proxy.approval.signing import Sign
    from proxy.approval.statement import Text, Wish
    from proxy.cli.api_client import ApiClient

KeyOption = Annotated[Path | None, typer.Option("--key", help="Sign with the private key in this file, PEM or JWK.")]
SignWithOption = Annotated[
    str | None, typer.Option("--sign-with", help="Sign with this command: text in, signature in base64url out.")
]
KeyIdOption = Annotated[
    str | None, typer.Option("--key-id", help="Which of your keys the command signs with, where you have several.")
]
ShownOption = Annotated[
    str | None, typer.Option("--shown", help="Digest of what you have seen; without it you are asked on the terminal.")
]
YES: Final = "approve"


@dataclass(frozen=True, slots=True)
class Hand:
    """What an approver signs with.

    Attributes:
        name: the approver's.
        key: id of the key.
        public: where the key is known here.
    """

    name: str
    key: str
    sign: Sign
    public: Mapping[str, str] | None = None

    def proof(self, text: Text) -> dict[str, object]:
        """A signature over `text`, as it is sent."""
        from proxy.approval.signing import proven
        from proxy.keys.public import base64url

        made = proven(self.sign, self.key, text, now_ms=time.time_ns() // 1_000_000)
        return {
            "key": made.key,
            "at_ms": made.at_ms,
            "nonce": made.nonce,
            "signature": base64url(made.signature),
        }

    def answer(self, detail: Any, wish: Wish | None) -> dict[str, object]:
        """The signed yes to the approval that `detail` showed."""
        from proxy.approval.statement import statement

        return self.proof(
            partial(
                statement,
                approval=detail["approval"]["id"],
                fingerprint=detail["fingerprint"],
                card=detail["card"],
                yes=True,
                approver=self.name,
                grant=wish,
            )
        )

    def confirmed(self, key: str, approver: str) -> dict[str, object]:
        """That `key` is `approver`'s."""
        from proxy.approval.key_statements import confirmation

        return self.proof(partial(confirmation, key=key, approver=approver, by=self.name))

    def seconded(self, grant: str, scope: Scope, terms: Terms) -> dict[str, object]:
        """That one stands behind a grant as it was shown."""
        from proxy.approval.key_statements import seconding

        return self.proof(partial(seconding, grant=grant, scope=scope, terms=terms, approver=self.name))


def hand(client: ApiClient, key: Path | None, sign_with: str | None, key_id: str | None) -> Hand | None:
    """What the options name; None where they name nothing. Raises `BriefcaseError`."""
    if key is None and sign_with is None:
        return None
    if key is not None and sign_with is not None:
        raise BriefcaseError("sign with --key or with --sign-with, not with both")
    from proxy.approval.signing import with_command, with_key_file

    name = str(client.call("GET", "/whoami")["name"])
    if key is not None:
        public, sign = with_key_file(key)
        return Hand(name, public.thumbprint, sign, public.jwk)
    return Hand(name, key_id or _only_key(client, name), with_command(shlex.split(sign_with or "")))


def card_digest_of(detail: Any) -> str:
    """Of the card that `detail` holds, as `approvals show` prints it."""
    from proxy.approval.statement import card_digest

    return card_digest(detail["card"])


def agreed(digest: str, shown: str | None) -> None:
    """Return if the person has seen what has this digest: they name it, or say so now, with it on the screen.

    Raises:
        BriefcaseError: they have not.
    """
    if shown is not None:
        if shown != digest:
            raise BriefcaseError("this is not what had that digest: look at it again")
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BriefcaseError(f"what is signed must have been seen; this is --shown {digest}")
    if typer.prompt(f"{YES}, or anything else to leave it", default="no") != YES:
        raise BriefcaseError("nothing was signed")


def _only_key(client: ApiClient, name: str) -> str:
    keys = client.call("GET", "/approver-keys")["keys"]
    mine = [one["id"] for one in keys if one["approver"] == name and one["state"] == "counts"]
    if len(mine) != 1:
        raise BriefcaseError("say with --key-id which of your keys the command signs with")
    return str(mine[0])
