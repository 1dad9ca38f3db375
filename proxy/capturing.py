"""`Keeper`: fresh secrets in a provider's reply are stored, durably and sealed, before the agent gets its stand-ins."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.credentials.captures.claims import readable
from proxy.credentials.captures.reply import MAX_REPLY_BYTES, CaptureFailedError, looks_secret, read
from proxy.credentials.captures.store import Captured, new_id
from proxy.credentials.grants import GrantKey
from proxy.credentials.standin import make, random_bits
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError, Denial, Refused
from proxy.firewall import BODYLESS, WithheldError, decoded, scrub
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Match
    from proxy.clock import Clock
    from proxy.credentials.broker import Broker
    from proxy.credentials.captures.reply import CapturedReply
    from proxy.credentials.captures.spec import CaptureSpec
    from proxy.credentials.captures.store import CapturedSecrets, Listed
    from proxy.credentials.grants import Grants
    from proxy.credentials.memory import Memory
    from proxy.credentials.standin import StandIn
    from proxy.exchange import Exchange
    from proxy.firewall import Vocabulary
    from proxy.model import AccountId, RequestHead, ResponseHead

_log: Final = logging.getLogger("proxy.credentials")
WATCH_S: Final = 1.0
MAX_HELD: Final = 256
"""Captured secrets of one agent at one account; a further call that makes one is refused before it is sent."""
TOO_MANY: Final = Denial("policy_denied", "This agent has as many captured secrets as are kept.", by="credentials")


class Keeper:
    """One per process. `publish` makes new stand-ins known to every request from then on."""

    def __init__(
        self, *, captured: CapturedSecrets, grants: Grants, memory: Memory[Vocabulary], broker: Broker, clock: Clock
    ) -> None:
        self._captured: Final = captured
        self._grants: Final = grants
        self._memory: Final = memory
        self._broker: Final = broker
        self._clock: Final = clock
        self._own: Final[set[GrantKey]] = set()
        self._seen: dict[GrantKey, int] = {}
        self._slots: Callable[[GrantKey], Mapping[str, str]] = lambda _key: {}
        self.publish: Callable[[tuple[StandIn, ...]], None] = lambda _new: None

    def load(self, slots: Callable[[GrantKey], Mapping[str, str]]) -> None:
        """What earlier runs captured: answers are searched for it from the start. Blocks.

        `slots` gives for a grant the slot of each of its tokens, by the token's name; empty for one of no profile.

        Raises:
            UnsealError: a captured secret was sealed with another key. Its stand-in would no longer be known, and a
                request with it would be served with what the account has.
        """
        self._slots = slots
        for one in self._captured.load():
            if not one.removed:
                self._memory.remember(one.account, one.held.place, one.secret)
        versions = self._grants.versions()
        self._notice(versions, {key: self._kept(key) for key in self._changed(versions)})

    async def watch(self, captures: Callable[[], bool]) -> None:
        """Notice within a second or two what other processes capture or remove. `captures`: a profile does so now.

        It is here and not in a request, so that no request waits for it. While the database cannot be read, what was
        known goes on.
        """
        while True:
            await asyncio.sleep(WATCH_S)
            if not captures():
                continue
            try:
                changed = await in_thread(self._captured.changed)
                versions = await in_thread(self._grants.versions)
                kept = {key: await in_thread(self._kept, key) for key in self._changed(versions)}
            except SQLAlchemyError as error:
                _log.error("what was captured cannot be read: %s", type(error).__name__)
                continue
            self._captured.learn(changed)
            for one in changed:
                if not one.removed:
                    self._memory.remember(one.account, one.held.place, one.secret)
            if changed:
                self.publish(tuple(one.held for one in changed))
            self._notice(versions, kept)

    def _changed(self, versions: Mapping[GrantKey, int]) -> list[GrantKey]:
        """The logins of agents that are new, or in another state than before."""
        return [key for key, n in versions.items() if key.agent and self._seen.get(key) != n and self._slots(key)]

    def _kept(self, key: GrantKey) -> Mapping[str, str]:
        """What a login consists of; empty where it does not open: nobody can use it then. Blocks."""
        try:
            return self._grants.read(key).kept
        except UnsealError as error:
            _log.warning("account %s: %s", key.account, error)
            return {}

    def _notice(self, versions: Mapping[GrantKey, int], kept: Mapping[GrantKey, Mapping[str, str]]) -> None:
        """Search answers for `kept`; a login whose row is gone serves no longer."""
        for key, values in kept.items():
            for name, slot in self._slots(key).items():
                if value := values.get(name):
                    self._memory.remember(key.account, slot, Secret(f"{key.account}:{slot}", value), owner=key.agent)
            self._own.add(key)
        for key in self._own & (self._seen.keys() - versions.keys()):
            self._own.discard(key)
            self._broker.replaced(key)
        self._seen = dict(versions)

    def listed(self) -> tuple[Listed, ...]:
        """What was captured, without values. Blocks."""
        return self._captured.listed()

    def remove(self, id_: str) -> bool:
        """Let a captured secret go; its stand-in is refused from then on. Blocks. Raises `UnsealError`."""
        return self._captured.remove(id_)

    def stand_ins(self) -> tuple[StandIn, ...]:
        """Those of everything captured."""
        return tuple(one.held for one in self._captured.all())

    def owns(self, agent: str, account: AccountId, credential: str) -> bool:
        """Whether the grant of `credential` is one that `agent` itself has logged in for."""
        return GrantKey(account, credential, agent) in self._own

    def taker(self, exchange: Exchange, match: Match | None, account: BoundAccount | None) -> ReplyTaker | None:
        """What takes the fresh secrets out of the answer to one call; None where the profile names none in it.

        Raises:
            Refused: the agent has too many of them.
        """
        spec = match.operation.capture if match is not None and match.operation is not None else None
        if spec is None or account is None:
            return None
        agent = exchange.tunnel.agent.name
        if spec.grant is None and self._captured.count(agent, account.id) + len(spec.secrets) > MAX_HELD:
            raise Refused(TOO_MANY)
        return ReplyTaker(self, exchange, account, spec)

    def harmless(self, agent: str, given: frozenset[str], text: str) -> bool:
        """Whether `text` is a stand-in, or will be replaced by one before the agent gets it."""
        if text in given or self._memory.stand_ins.knows(text):
            return True
        return scrub(text.encode(), self._memory.vocabulary(agent))[1] > 0

    async def keep(self, one: ReplyTaker, reply: CapturedReply) -> dict[str, str]:
        """Store what is fresh; the stand-in for each pointer.

        Raises:
            CaptureFailedError: it could not be stored.
        """
        try:
            if one.spec.grant is None:
                return await self._keep_secrets(one, reply)
            return await self._keep_grant(one, one.spec.grant, reply)
        except (BriefcaseError, SQLAlchemyError) as error:
            _log.error("account %s: a captured secret could not be stored: %s", one.account.id, type(error).__name__)
            raise CaptureFailedError("The fresh secret could not be stored.") from None

    async def _keep_secrets(self, one: ReplyTaker, reply: CapturedReply) -> dict[str, str]:
        agent, account, described = one.exchange.tunnel.agent.name, one.account, one.account.profile.secrets
        new = {}
        for fresh in reply.fresh:
            shape = described[fresh.slot].stand_in
            value = make(shape, key=secrets.token_bytes(32), purpose="captured")
            new[fresh.pointer] = Captured(
                new_id(), agent, account.id, fresh.slot, fresh.value, value, one.exchange.id, random_bits(shape)
            )
        for secret in new.values():  # before anything can be answered, and also where storing fails
            self._memory.remember(account.id, secret.held.place, secret.secret)
        await in_thread(self._captured.store, tuple(new.values()))
        self.publish(tuple(secret.held for secret in new.values()))
        return {pointer: secret.stand_in for pointer, secret in new.items()}

    async def _keep_grant(self, one: ReplyTaker, credential: str, reply: CapturedReply) -> dict[str, str]:
        agent, account = one.exchange.tunnel.agent.name, one.account.id
        held = self._memory.stand_ins.held(agent, account)
        for fresh in reply.fresh:
            self._memory.remember(account, fresh.slot, Secret(f"{account}:{fresh.slot}", fresh.value), owner=agent)
        if any(fresh.slot not in held for fresh in reply.fresh):
            raise CaptureFailedError("There is no stand-in for a secret in the reply.")
        key = GrantKey(account, credential, agent)
        issuer = one.account.profile.credentials[credential].issued_by(one.account.variables)
        state = {"token_type": "bearer", "issuer": issuer, **reply.state(self._clock.wall_ms() // 1000)}
        await in_thread(self._grants.put, key, state)
        self._own.add(key)
        self._broker.replaced(key)
        return {fresh.pointer: held[fresh.slot] for fresh in reply.fresh}


@dataclass(slots=True)
class ReplyTaker:
    """A `Taker`: of one exchange."""

    keeper: Keeper = field(repr=False)
    exchange: Exchange = field(repr=False)
    account: BoundAccount
    spec: CaptureSpec
    max_bytes: int = MAX_REPLY_BYTES

    def wants(self, head: ResponseHead, request: RequestHead) -> bool:
        """See `Taker`: a good answer that has a body."""
        good = 200 <= head.status < 300  # noqa: PLR2004  # RFC 9110, section 15.3
        return good and head.status not in BODYLESS and not head.end_stream and request.method != "HEAD"

    async def take(self, head: ResponseHead, body: bytes) -> bytes:
        """See `Taker`."""
        content_type = next((value for name, value in head.headers if name == "content-type"), None)
        try:
            reply = read(self.spec, content_type, decoded(head.headers, body, MAX_REPLY_BYTES))
            stand_ins = self._readable(reply, await self.keeper.keep(self, reply)) if reply.fresh else {}
        except WithheldError:
            raise Refused(_withheld("The reply cannot be decoded.")) from None
        except CaptureFailedError as failed:
            raise Refused(_withheld(str(failed))) from None
        self.exchange.captured = ",".join(fresh.slot for fresh in reply.fresh) or None
        written = reply.written(stand_ins)
        prefixes = [p for slot in self.account.profile.secrets.values() for p in slot.prefixes]
        harmless = partial(self.keeper.harmless, self.exchange.tunnel.agent.name, frozenset(stand_ins.values()))
        if looks_secret(reply.document, prefixes, harmless):
            raise Refused(_withheld("The reply has something else that looks like a secret."))
        return written

    def _readable(self, reply: CapturedReply, stand_ins: dict[str, str]) -> dict[str, str]:
        """The stand-ins, those of JWTs that the agent reads as JWTs."""
        values = {fresh.pointer: fresh.value for fresh in reply.fresh}
        return {
            pointer: readable(values[pointer], self.spec.claims[pointer], stand_in)
            if pointer in self.spec.claims
            else stand_in
            for pointer, stand_in in stand_ins.items()
        }


def _withheld(detail: str) -> Denial:
    return Denial("response_withheld", detail, by="firewall")
