"""`Manifest`: the pages of `http://briefcased.internal/`, each for the agent that asks and about it alone (P6).

What an agent does on behalf of one user is not told where it acts for another, or for nobody.

The name is never resolved and nothing is dialled. An approval that is not the agent's own, and one that there is not,
give one and the same answer (J-06).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy.exc import SQLAlchemyError

from proxy.approval.states import State
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.errors import Answer, Denial
from proxy.manifest.accept import wants_text
from proxy.manifest.listing import STANDINGS, listing, profiles_of
from proxy.manifest.plain import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from proxy.approval.states import Approval
    from proxy.approval.store import ApprovalStore
    from proxy.catalog.schema import Profile
    from proxy.clock import Clock
    from proxy.decision import Generation
    from proxy.exchange import Exchange
    from proxy.manifest.refusals import Refusals
    from proxy.model import Agent, RequestHead

type Fields = Mapping[str, object]
type Budgets = Callable[[Agent], Awaitable[Sequence[Fields]]]
"""What is left of each budget that applies to an agent, as JSON; nothing about others."""

ANSWERED: Final = "manifest"
LISTED_APPROVALS: Final = 50
KEEP_MS: Final = 5_000
"""How long a listing is good for: policies may look at the time."""
MAX_KEPT: Final = 64
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
MARKDOWN: Final = "text/markdown; charset=utf-8"
PEM: Final = "application/x-pem-file"
PAGES: Final = {
    "/operations": "What you may call: hosts, operations, your stand-ins, examples.",
    "/operations/{profile}": "The same of one service.",
    "/budgets": "What is left of your budgets.",
    "/approvals": "Your calls that wait for a person, or were decided.",
    "/approvals/{id}": "One of them.",
    "/last-refusal": "Why your last call was refused.",
    "/ca.pem": "The roots to trust.",
    "/SKILL.md": "How to work with this proxy.",
}


def no_tunnel() -> Denial:
    """What a CONNECT to the manifest is told."""
    return Denial("destination_not_allowed", "The manifest is at http://briefcased.internal/ only.", by="match")


async def no_budgets(_agent: Agent) -> Sequence[Fields]:
    """Where no budgets are kept."""
    return ()


class Manifest:
    """One instance per process. `roots` gives the PEM of the interception CA's roots."""

    def __init__(
        self,
        *,
        approvals: ApprovalStore,
        refusals: Refusals,
        clock: Clock,
        roots: Callable[[], bytes],
        budgets: Budgets = no_budgets,
    ) -> None:
        self.refusals: Final = refusals
        self._approvals: Final = approvals
        self._clock: Final = clock
        self._roots: Final = roots
        self._budgets: Final = budgets
        self._skill: Final = (resources.files(__package__) / "SKILL.md").read_bytes()
        self._kept: Final[OrderedDict[tuple[Agent, str], tuple[Generation, int, Fields | None]]] = OrderedDict()

    async def answer(self, generation: Generation, exchange: Exchange, head: RequestHead) -> Answer | Denial:
        """What the agent of `exchange` gets for `head`; notes on `exchange` what its receipts say of it."""
        if head.scheme != "http" or head.authority.port != 80:  # noqa: PLR2004  # the default port of http
            return no_tunnel()
        if head.method not in ("GET", "HEAD"):
            return Denial("method_not_allowed", "The manifest is read with GET or HEAD.", by="match")
        agent = exchange.tunnel.agent
        try:
            answer = await self._page(generation, agent, head)
        except (SQLAlchemyError, UnsealError):
            return Denial("approval_unavailable", "Approvals cannot be read now.", by="manifest", retry_after_s=5)
        exchange.answered, exchange.status = ANSWERED, answer.status
        return answer

    async def _page(self, generation: Generation, agent: Agent, head: RequestHead) -> Answer:
        match head.segments:
            case ("ca.pem",):
                return _answer(self._roots(), PEM)
            case ("SKILL.md",):
                return _answer(self._skill, MARKDOWN)
        content = await self._content(generation, agent, head.segments)
        return _missing(head) if content is None else _told(head, content)

    async def _content(self, generation: Generation, agent: Agent, segments: tuple[str, ...]) -> Fields | None:
        """What a page says; None where there is no such page."""
        match segments:
            case () | ("",):
                return self._index(generation, agent)
            case ("operations",):
                return await self._operations(generation, agent, profiles_of(generation, agent))
            case ("operations", name):
                named = [profile for profile in profiles_of(generation, agent) if profile.name == name]
                found = await self._operations(generation, agent, named)
                return found if found["profiles"] else None
            case ("budgets",):
                return {"budgets": list(await self._budgets(agent))}
            case ("approvals",):
                return {"approvals": await self._own_approvals(agent)}
            case ("approvals", id_):
                return await self._approval(agent, id_)
            case ("last-refusal",):
                return {"refused": self.refusals.of(agent)}
        return None

    @staticmethod
    def _index(generation: Generation, agent: Agent) -> Fields:
        return {
            "agent": agent.name,
            "user": agent.user.name if agent.user is not None else None,
            "task": agent.task,
            "mode": generation.settings.mode.value,
            "profiles": [profile.name for profile in profiles_of(generation, agent)],
            "pages": {f"http://briefcased.internal{path}": says for path, says in PAGES.items()},
        }

    async def _operations(self, generation: Generation, agent: Agent, profiles: Iterable[Profile]) -> Fields:
        found = []
        for profile in profiles:
            found.append(self._listing(generation, agent, profile))
            await asyncio.sleep(0)  # other calls come in between
        return {"standings": STANDINGS, "profiles": [one for one in found if one is not None]}

    def _listing(self, generation: Generation, agent: Agent, profile: Profile) -> Fields | None:
        now_ms = self._clock.wall_ms()
        key = (agent, profile.name)
        kept = self._kept.get(key)
        if kept is not None and kept[0] is generation and 0 <= now_ms - kept[1] < KEEP_MS:
            return kept[2]
        made = listing(generation, agent, profile, now_ms=now_ms)
        self._kept[key] = (generation, now_ms, made)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return made

    async def _own_approvals(self, agent: Agent) -> list[Fields]:
        tenant, name, user = agent.identity
        listed = partial(self._approvals.listed, tenant=tenant, agent=name, user=user)
        found = await in_thread(listed, state=None, limit=LISTED_APPROVALS)
        return [self._described(one) for one in found]

    async def _approval(self, agent: Agent, id_: str) -> Fields | None:
        one = await in_thread(self._approvals.get, id_)
        if one is None or (one.tenant, one.agent, one.user) != agent.identity:
            return None
        card = await in_thread(self._approvals.card, id_) or {}
        call = {name: card[name] for name in ("method", "url", "body_bytes", "body_sha256", "reasons") if name in card}
        return {**self._described(one), "call": call}

    def _described(self, one: Approval) -> Fields:
        state = one.standing(self._approvals.now())
        until = {State.PENDING: "decide_by_ms", State.APPROVED: "use_by_ms"}.get(state)
        return {
            "approval_id": one.id,
            "state": state.value,
            "operation": f"{one.profile}:{one.operation}",
            "account": one.account,
            "asked_at_ms": one.created_at_ms,
            **({until: one.deadline.wall_ms} if until is not None else {}),
            "status_url": f"http://briefcased.internal/approvals/{one.id}",
            "receipt": one.receipt,
        }


def _told(head: RequestHead, content: Fields, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    if wants_text(head.header("accept")):
        return _answer(plain(content).encode(), TEXT, status)
    return _answer(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE), JSON, status)


def _missing(head: RequestHead) -> Answer:
    return _told(head, {"error": "There is no such page.", "see": "http://briefcased.internal/"}, HTTPStatus.NOT_FOUND)


def _answer(body: bytes, content_type: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    headers = ((b"content-type", content_type.encode()), (b"cache-control", b"no-store"))
    return Answer(status, headers, body)
