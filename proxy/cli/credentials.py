"""`briefcased credentials receive`: a verifiable credential comes from its issuer and rests sealed in the database."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.catalog.binding import BoundAccount
    from proxy.cli.connections.opened import Connections
    from proxy.credentials.kind import Ingredients, Minting
    from proxy.credentials.order import Order
    from proxy.credentials.vc.kind import VcCredential
    from proxy.credentials.vc.receiving import Received
    from proxy.keys.signer import Signer

app = typer.Typer(help="Verifiable credentials that accounts hold.", no_args_is_help=True)
WITHIN_S: Final = 300


@app.command("receive")
def receive(
    offer: Annotated[str, typer.Argument(help="The offer: its link, or its JSON; - reads it from standard input.")],
    account: Annotated[str, typer.Option(help="PROVIDER/ACCOUNT that the credential is for.")],
    config: ConfigOption = CONFIG,
    credential: Annotated[
        str | None, typer.Option(help="Its name in the profile, where several could be received.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="Our client id at the issuer, where it wants one.")] = None,
    timeout: Annotated[int, typer.Option(min=5, max=86_400, help="Seconds to wait for a credential.")] = WITHIN_S,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Receive a verifiable credential (OpenID4VCI). A transaction code is asked for, never taken as an option."""
    text = sys.stdin.readline() if offer == "-" else offer
    told = asyncio.run(_receive(config, account, credential, text, client_id, timeout))
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        sys.stdout.write(f"received {' '.join(told['types'])} by {told['issuer']} for {told['account']}\n")


async def _receive(
    config: Path, name: str, credential: str | None, text: str, client_id: str | None, timeout_s: int
) -> dict[str, str | list[str]]:
    from proxy.cli.connections.opened import opened
    from proxy.credentials.vc.kind import CREDENTIAL
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        receiver = await Receiver.of(connections, connections.account(name), credential)
        received = await receiver.receive(text, client_id, timeout_s)
        ends = {} if received.expires_at_s is None else {"expires_at_s": str(received.expires_at_s)}
        await in_thread(connections.services.grants.put, receiver.order.key, {CREDENTIAL: received.text, **ends})
    return {
        "account": str(receiver.order.account),
        "credential": receiver.order.name,
        "issuer": received.issuer,
        "types": list(received.types),
    }


@app.command("forget")
def forget(
    account: Annotated[str, typer.Argument(help="PROVIDER/ACCOUNT that it was received for.")],
    config: ConfigOption = CONFIG,
    credential: Annotated[str | None, typer.Option(help="Its name in the profile, where there are several.")] = None,
) -> None:
    """Remove a credential that was received. Its issuer is not told."""
    name = asyncio.run(_forget(config, account, credential))
    sys.stdout.write(f"forgotten: {name} of {account}\n")


async def _forget(config: Path, name: str, credential: str | None) -> str:
    from proxy.cli.connections.opened import opened
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        receiver = await Receiver.of(connections, connections.account(name), credential)
        if not await in_thread(connections.services.grants.forget, receiver.order.key):
            raise BriefcaseError(f"no credential was received for {receiver.order.account}")
    return receiver.order.name


class Receiver:
    """One account with the credential that is to be received for it."""

    def __init__(
        self, connections: Connections, order: Order, kind: VcCredential, signers: Mapping[str, Signer]
    ) -> None:
        self.order: Final = order
        self._connections: Final = connections
        self._kind: Final = kind
        self._signers: Final = signers

    @classmethod
    async def of(cls, connections: Connections, account: BoundAccount, wanted: str | None) -> Receiver:
        """Raises `BriefcaseError` where the account has no such credential, or no key for it."""
        from proxy.credentials.order import Order

        name, kind = _chosen(account, wanted)
        described = account.account
        order = Order(account.id, name, kind, described.secrets, described.keys, account.variables)
        return cls(connections, order, kind, await connections.signers(order))

    async def receive(self, text: str, client_id: str | None, timeout_s: int) -> Received:
        """The verified credential. Raises `BriefcaseError`."""
        from proxy.credentials.vc.offer import read_offer
        from proxy.credentials.vc.receiving import Deferred, asked_again, opened_session, requested

        offer = await self._run(read_offer(text))
        code = await asyncio.to_thread(_typed) if offer.wants_tx_code else None
        session = await self._run(opened_session(self._kind, offer, self._given(), client_id=client_id, tx_code=code))
        end_s = time.monotonic() + timeout_s
        outcome = await self._run(requested(self._kind, session, self._given()))
        while isinstance(outcome, Deferred):
            if time.monotonic() + outcome.interval_s > end_s:
                raise BriefcaseError(f"{self.order.account}: the issuer had no credential ready in {timeout_s} s")
            sys.stderr.write(f"the issuer asks to come again in {outcome.interval_s} s\n")
            await asyncio.sleep(outcome.interval_s)
            outcome = await self._run(asked_again(self._kind, outcome, self._given()))
        return outcome

    def _given(self) -> Ingredients:
        from proxy.credentials.grants import Granted
        from proxy.credentials.order import ingredients

        return ingredients(self.order, {}, self._signers, Granted(), self._connections.clock.wall_ms() // 1000)

    async def _run[T](self, minting: Minting[T]) -> T:
        from proxy.credentials.kind import MintFailedError

        try:
            return await self._connections.runner.mint(minting, self.order.account.provider, self._signers)
        except MintFailedError as failed:
            raise BriefcaseError(f"{self.order.account}: {failed.denial.detail}") from None


def _chosen(account: BoundAccount, wanted: str | None) -> tuple[str, VcCredential]:
    """The credential of the profile that is received. Raises `BriefcaseError`."""
    from proxy.credentials.vc.kind import VcCredential

    every = account.profile.credentials
    names = account.account.credentials or tuple(every)
    found = {n: k for n in names if isinstance(k := every[n], VcCredential) and k.secret is None}
    if wanted is not None:
        found = {name: kind for name, kind in found.items() if name == wanted}
    if len(found) != 1:
        known = f": say which by --credential: {', '.join(found)}" if found else ""
        raise BriefcaseError(f"{account.id} has {'several' if found else 'no'} credentials to receive{known}")
    return next(iter(found.items()))


def _typed() -> str:
    """The transaction code, which came to the person another way."""
    typed = getpass.getpass("transaction code: ") if sys.stdin.isatty() else sys.stdin.readline()
    return typed.strip()
