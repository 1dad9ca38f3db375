"""`briefcased keys`: the keys that accounts sign with. Public halves only; no command prints a private one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.keys.ring import KeyRing
    from proxy.keys.signer import Signer

app = typer.Typer(help="The keys that accounts sign with: public halves only.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]
AccountArgument = Annotated[str, typer.Argument(help="provider/account.")]
SlotOption = Annotated[str | None, typer.Option("--slot", "-s", help="The key's slot, where the account has several.")]


@dataclass(frozen=True)
class _Slot:
    """One key that an account has, or would have. `ref`: where it rests; None with us."""

    account: BoundAccount
    slot: str
    algorithm: str
    ref: str | None

    async def signer(self, ring: KeyRing) -> Signer:
        from proxy.keys.signer import KeyUnavailableError
        from proxy.secretstore import SecretUnavailableError

        try:
            return await ring.signer(self.account.id, self.slot, self.ref, self.algorithm)
        except (KeyUnavailableError, SecretUnavailableError) as error:
            raise BriefcaseError(f"{self.account.id}: {error}") from None

    def made_at_ms(self, ring: KeyRing) -> int | None:
        """When we made it; None where we have not, or where the operator names another place."""
        return None if self.ref is not None else ring.made_at_ms(self.account.id, self.slot)


@contextlib.asynccontextmanager
async def _opened(config: Path) -> AsyncIterator[tuple[list[_Slot], KeyRing]]:
    """The slots of every account, and the ring with the sidecar's own state."""
    from proxy.cli.connections.opened import opened

    async with opened(config) as connections:
        yield [slot for account in connections.accounts() for slot in _slots(account)], connections.services.keys


def _slots(account: BoundAccount) -> Iterator[_Slot]:
    seen: set[str] = set()
    for kind in account.profile.credentials.values():
        for slot, algorithm in kind.key_names().items():
            if slot not in seen:
                seen.add(slot)
                yield _Slot(account, slot, algorithm, account.account.keys.get(slot))


def _chosen(slots: list[_Slot], account: str, slot: str | None) -> _Slot:
    found = [one for one in slots if str(one.account.id) == account and slot in (None, one.slot)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BriefcaseError(f"say which --slot of {account}: {', '.join(one.slot for one in found)}")
    if own := [one.slot for one in slots if str(one.account.id) == account]:
        raise BriefcaseError(f"{account} has no key {slot}; it has {', '.join(own)}")
    known = ", ".join(dict.fromkeys(str(one.account.id) for one in slots)) or "none"
    raise BriefcaseError(f"no account {account} has such a key; accounts with keys: {known}")


def _shown(one: _Slot, signer: Signer) -> dict[str, Any]:
    public = signer.public
    return {
        "account": str(one.account.id),
        "slot": one.slot,
        "algorithm": public.algorithm,
        "thumbprint": public.thumbprint,
        "certificates": len(public.certificates),
        "jwk": dict(public.jwk),
    }


def _print(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(shown).decode() + "\n")
        return
    sys.stdout.write(f"{shown['account']} {shown['slot']}: {shown['algorithm']}, thumbprint {shown['thumbprint']}\n")
    sys.stdout.write(orjson.dumps(shown["jwk"]).decode() + "\n")


@app.command("list")
def list_(config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """List the keys of every account, and where each rests; asks no token and no signer."""
    rows = asyncio.run(_rows(config))
    if as_json:
        sys.stdout.write(orjson.dumps(rows).decode() + "\n")
        return
    for row in rows:
        sys.stdout.write(
            f"{row['account']} {row['slot']}: {row['rests']}{f', {row["made_at"]}' if row['made_at'] else ''}\n"
        )


async def _rows(config: Path) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = []
    async with _opened(config) as (slots, ring):
        for one in slots:
            at_ms = one.made_at_ms(ring)
            made = None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
            where = one.ref.partition(":")[0] if one.ref is not None else "here" if made else "not made yet"
            rows.append({"account": str(one.account.id), "slot": one.slot, "rests": where, "made_at": made})
    return rows


@app.command("show")
def show(
    account: AccountArgument, slot: SlotOption = None, config: ConfigOption = CONFIG, as_json: JsonOption = False
) -> None:
    """Show the public half of one key, to register it with a provider."""

    async def shown() -> dict[str, Any]:
        async with _opened(config) as (slots, ring):
            one = _chosen(slots, account, slot)
            if one.ref is None and one.made_at_ms(ring) is None:
                raise BriefcaseError(f"{account} has no key {one.slot} yet: briefcased keys new {account}")
            return _shown(one, await one.signer(ring))

    _print(asyncio.run(shown()), as_json=as_json)


@app.command("new")
def new(
    account: AccountArgument, slot: SlotOption = None, config: ConfigOption = CONFIG, as_json: JsonOption = False
) -> None:
    """Make the key of an account now, rather than at its first use; it rests sealed in the database."""

    async def made() -> dict[str, Any]:
        async with _opened(config) as (slots, ring):
            one = _chosen(slots, account, slot)
            if one.ref is not None:
                raise BriefcaseError(f"the configuration names another place for the key {one.slot} of {account}")
            if one.made_at_ms(ring) is not None:
                raise BriefcaseError(f"{account} has a key {one.slot} already: briefcased keys show {account}")
            return _shown(one, await one.signer(ring))

    _print(asyncio.run(made()), as_json=as_json)


@app.command("directory")
def directory(
    accounts: Annotated[list[str], typer.Argument(help="provider/account; may be several.")],
    slot: SlotOption = None,
    host: Annotated[str | None, typer.Option(help="Where it is served: print signed header fields too.")] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="How long those signatures are valid.")] = 7,
    config: ConfigOption = CONFIG,
) -> None:
    """Print the key directory of Web Bot Auth: the document, or with --host a JSON object of headers and body."""
    try:
        from proxy.credentials import key_directory
        from proxy.credentials.covered import UnsignableError
    except ImportError:
        raise BriefcaseError("the key directory needs the extra `signatures`") from None

    async def made() -> str:
        async with _opened(config) as (slots, ring):
            signers = [await _chosen(slots, name, slot).signer(ring) for name in accounts]
            body = key_directory.directory(signer.public for signer in signers)
            if host is None:
                return body.decode()
            now_s = SystemClock().wall_ms() // 1000
            ends_s = now_s + days * 86_400
            try:
                fields = await key_directory.fields(host, body, signers, created_s=now_s, expires_s=ends_s)
            except UnsignableError as problem:
                raise BriefcaseError(f"no directory can be made: {problem}") from None
            return orjson.dumps({"headers": fields, "body": body.decode()}).decode()

    sys.stdout.write(asyncio.run(made()) + "\n")
