"""`Approvals`: lets a request through that a person approved, and waits for those who have not decided yet.

    ask -> (wait on the open connection) -> consume

The retry of the same request finds its approval by the fingerprint; no token is needed. Whatever fails refuses (P5).
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from proxy.approval.answers import grant_over, not_asked, over, required, too_large, unavailable
from proxy.approval.card import card_of, reviewable
from proxy.approval.fingerprint import VOLATILE, family, fingerprint
from proxy.approval.grants import Grant
from proxy.approval.states import Approval, State, Vote
from proxy.approval.store import Changed
from proxy.db.threads import in_thread
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.approval.fingerprint import Asked
    from proxy.approval.grant_store import GrantStore
    from proxy.approval.store import ApprovalStore
    from proxy.approval_settings import ApprovalSettings
    from proxy.clock import Clock

POLL_S: Final = 0.5
"""How often waiting requests look for a decision that another process has written."""
SWEEP_EVERY_S: Final = 3600.0
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Waiter:
    """A request on its open connection: whoever learns that its agent went away sets `wake`, and `gone` says so."""

    wake: asyncio.Event
    gone: Callable[[], bool]


class Approvals:
    """One instance per process. `tell` is called for every approval that is new, decided or over."""

    def __init__(
        self,
        store: ApprovalStore,
        *,
        grants: GrantStore,
        settings: ApprovalSettings,
        key: bytes,
        clock: Clock,
        tell: Callable[[Approval], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.store: Final = store
        self.grants: Final = grants
        self._key: Final = key
        self._clock: Final = clock
        self._tell: Final = tell
        self._waiting: Final[dict[str, set[asyncio.Event]]] = {}
        self._stopping = False

    @property
    def waiting(self) -> int:
        """Requests that wait on their open connections."""
        return sum(map(len, self._waiting.values()))

    async def granted(self, asked: Asked, title: str, *, waiter: Waiter, named: str | None = None) -> Approval | Grant:
        """The approval of this very request, or the standing grant that covers it; waits on the open connection.

        `title` is the operation's; `named` the approval that the agent thinks it has: with it, nobody is asked anew,
        also where that one is used up meanwhile.

        Raises:
            Refused: approval_required, approval_rejected, approval_expired, approval_mismatch, approval_unavailable,
                or policy_denied for what no person can look at whole.
        """
        if not reviewable(asked):
            raise Refused(too_large())
        try:
            mark = self._mark(asked)
            same = await self._same(named, mark, asked) if named is not None else None
            if (ready := await self._ready(asked, mark)) is not None:
                return ready
            approval = same if same is not None else await self._asked(asked, title, mark)
            return approval if approval.state is State.APPROVED else await self._decided(approval, waiter)
        except SQLAlchemyError:
            raise Refused(unavailable()) from None

    async def use(self, approval: Approval | Grant, *, receipt: str) -> None:
        """Use it up, for the request whose decision has the id `receipt`; of a grant, one use.

        Raises:
            Refused: somebody else was faster, or its time is up.
        """
        try:
            if isinstance(approval, Grant):
                if not await in_thread(self.grants.use, approval.id):
                    raise Refused(grant_over(approval))
                return
            if not await in_thread(self.store.change, approval.id, State.APPROVED, State.CONSUMED, receipt=receipt):
                now = await in_thread(self.store.get, approval.id)
                raise Refused(over(approval, now.standing(self.store.now()) if now is not None else State.EXPIRED))
        except SQLAlchemyError:
            raise Refused(unavailable()) from None

    async def vote(self, id_: str, vote: Vote, *, reason: str = "") -> Changed | State | None:
        """As `ApprovalStore.vote`, for an approver who may (see `Approvers`). Whoever waits learns of it."""
        usable_s = float(self.settings.use_within_s)
        changed = await in_thread(self.store.vote, id_, vote, reason=reason, usable_s=usable_s)
        if isinstance(changed, Changed) and changed.decided:
            self._wake(id_)
            self._tell(changed.approval)
        return changed

    async def watch(self) -> None:
        """Look for what other processes have decided, write down what is over, forget what is old, until cancelled."""
        sweep_at_s = self._clock.monotonic_s()
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._look()
                if (now_s := self._clock.monotonic_s()) >= sweep_at_s:
                    await self.sweep()
                    sweep_at_s = now_s + SWEEP_EVERY_S
            except SQLAlchemyError:
                continue

    async def sweep(self) -> None:
        """Forget approvals and grants that ended long ago, with what they show; receipts of them stay."""
        before_ms = self._clock.wall_ms() - self.settings.keep_days * DAY_MS
        await in_thread(self.store.forget, before_ms=before_ms)
        await in_thread(self.grants.forget, before_ms=before_ms)

    def stop(self) -> None:
        """Answer everybody who waits; their approvals stay as they are."""
        self._stopping = True
        for id_ in tuple(self._waiting):
            self._wake(id_)

    def _mark(self, asked: Asked) -> str:
        volatile = VOLATILE.union(name.lower() for name in self.settings.volatile_headers)
        return fingerprint(asked, key=self._key, volatile=volatile)

    async def _ready(self, asked: Asked, mark: str) -> Approval | Grant | None:
        """What lets it go without asking anybody; its own approval first, so that none is left over."""
        own = await in_thread(self.store.approved, asked, mark)
        return own if own is not None else await in_thread(self.grants.covering, asked)

    async def _asked(self, asked: Asked, title: str, mark: str) -> Approval:
        settings, now = self.settings, self.store.now()
        found = await in_thread(
            self.store.ask,
            asked,
            fingerprint=mark,
            family=family(asked, key=self._key),
            card=card_of(asked, title),
            deadline=now.later(settings.decide_within_s),
            refused_for_ms=settings.refused_for_s * 1000,
            max_pending=settings.max_pending_per_agent,
        )
        if not isinstance(found, Approval):
            raise Refused(not_asked(found))
        if found.state is State.PENDING and found.created_at_ms >= now.wall_ms:
            self._tell(found)
        return found

    async def _same(self, named: str, mark: str, asked: Asked) -> Approval:
        """The approval that the agent names, which must be for this very request. Raises `Refused`."""
        known = await in_thread(self.store.get, named)
        if known is None or (known.tenant, known.agent) != (asked.agent.tenant, asked.agent.name):
            raise Refused(Denial("approval_mismatch", "There is no such approval of this agent.", by="approve"))
        if known.fingerprint != mark:
            detail = "This is not the call that the approval is for."
            raise Refused(Denial("approval_mismatch", detail, by="approve"))
        standing = known.standing(self.store.now())
        if standing not in (State.PENDING, State.APPROVED):
            raise Refused(over(known, standing))
        return known

    async def _decided(self, approval: Approval, waiter: Waiter) -> Approval:
        """Wait for a decision on the open connection; the approval, approved. Raises `Refused`."""
        if self.waiting >= self.settings.max_waiting or self._stopping:
            raise Refused(required(approval))
        with self._waits(approval.id, waiter.wake), suppress(TimeoutError):
            async with asyncio.timeout(self.settings.hold_s):
                await waiter.wake.wait()
        if waiter.gone() and approval.id not in self._waiting:  # nobody needs the answer any more
            await in_thread(self.store.change, approval.id, State.PENDING, State.WITHDRAWN)
        now = await in_thread(self.store.get, approval.id)
        if now is None:
            raise Refused(unavailable())
        match now.standing(self.store.now()):
            case State.APPROVED:
                return now
            case State.PENDING:
                raise Refused(required(now))
            case ended:
                raise Refused(over(now, ended))

    @contextmanager
    def _waits(self, id_: str, wake: asyncio.Event) -> Iterator[None]:
        self._waiting.setdefault(id_, set()).add(wake)
        try:
            yield
        finally:
            self._waiting[id_].discard(wake)
            if not self._waiting[id_]:
                del self._waiting[id_]

    async def _look(self) -> None:
        for id_ in await in_thread(self.store.expire):
            if (ended := await in_thread(self.store.get, id_)) is not None:
                self._tell(ended)
        if self._waiting:
            states = await in_thread(self.store.states, tuple(self._waiting))
            for id_ in tuple(self._waiting):
                if id_ not in states or states[id_].state is not State.PENDING:
                    self._wake(id_)

    def _wake(self, id_: str) -> None:
        for wake in self._waiting.get(id_, ()):
            wake.set()
