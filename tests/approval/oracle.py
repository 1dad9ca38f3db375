"""The rules of approvals, said once more, by hand, without the code that is tested."""

from __future__ import annotations

from dataclasses import dataclass, field

DECIDE_S, USE_S, REFUSED_S, MAX_PENDING = 600, 600, 600, 5


@dataclass(frozen=True)
class Wanted:
    """A request, as far as the rules look at it."""

    agent: str
    path: str
    body: str
    strong: bool = False
    needs: int = 1


@dataclass
class Clocks:
    wall_s: int = 0
    steady_s: int = 0


@dataclass
class Known:
    """An approval."""

    id: str
    wanted: Wanted
    wall_end: int
    steady_end: int
    state: str = "pending"
    votes: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    decided_at: int = 0


@dataclass
class Standing:
    """A grant."""

    id: str
    agent: str
    path: str
    strong: bool
    left: int
    wall_end: int
    steady_end: int
    revoked: bool = False


class Oracle:
    """What must be true now."""

    def __init__(self) -> None:
        self.now = Clocks()
        self.approvals: dict[str, Known] = {}
        self.grants: dict[str, Standing] = {}

    def late(self, one: Known | Standing) -> bool:
        return self.now.wall_s >= one.wall_end or self.now.steady_s >= one.steady_end

    def stands(self, one: Known) -> str:
        return "expired" if one.state in ("pending", "approved") and self.late(one) else one.state

    def alive(self, one: Standing) -> bool:
        return not one.revoked and one.left > 0 and not self.late(one)

    def ready(self, wanted: Wanted) -> set[str]:
        """Ids of which any one may let `wanted` go: its own approval, else the grant that ends first."""
        own = {a.id for a in self.approvals.values() if a.wanted == wanted and self.stands(a) == "approved"}
        if own:
            return own
        fit = [
            g
            for g in self.grants.values()
            if self.alive(g)
            and (g.agent, g.path) == (wanted.agent, wanted.path)
            and (g.strong or not wanted.strong)
            and wanted.needs == 1
        ]
        return {g.id for g in fit if g.wall_end == min(one.wall_end for one in fit)}

    def asked(self, wanted: Wanted) -> str:
        """What a request gets that nothing lets go: an id, a slug, or `new`."""
        self.expire(wanted.agent)
        for one in self.approvals.values():
            if one.wanted == wanted and one.state == "pending":
                return one.id
        for one in self.approvals.values():
            near = (one.wanted.agent, one.wanted.path) == (wanted.agent, wanted.path)
            if near and one.state == "rejected" and one.decided_at > self.now.wall_s - REFUSED_S:
                return "approval_rejected"
        own = [a for a in self.approvals.values() if a.wanted.agent == wanted.agent]
        vain = [a for a in own if a.state == "rejected" and a.decided_at > self.now.wall_s - REFUSED_S]
        return "rate_limited" if len(vain) + sum(a.state == "pending" for a in own) >= MAX_PENDING else "new"

    def expire(self, agent: str | None) -> None:
        for one in self.approvals.values():
            if agent in (None, one.wanted.agent):
                one.state = self.stands(one)

    def new(self, id_: str, wanted: Wanted) -> None:
        assert id_ not in self.approvals
        self.approvals[id_] = Known(id_, wanted, self.now.wall_s + DECIDE_S, self.now.steady_s + DECIDE_S)

    def vote(self, id_: str, approver: str, yes: bool, key: bool) -> str:
        """What becomes of it: a state that is in the way, or `counted`."""
        one = self.approvals[id_]
        if self.stands(one) != "pending":
            return self.stands(one)
        one.votes[approver] = (yes, key)
        one.decided_at = self.now.wall_s
        good = [who for who, (says, keyed) in one.votes.items() if says and (keyed or not one.wanted.strong)]
        if not all(says for says, _ in one.votes.values()):
            one.state = "rejected"
        elif len(good) >= one.wanted.needs:
            one.state = "approved"
            one.wall_end, one.steady_end = self.now.wall_s + USE_S, self.now.steady_s + USE_S
        return "counted"

    def use(self, id_: str) -> str:
        """What a request gets that holds this permit: `allowed`, or a slug."""
        if id_ in self.grants:
            if not self.alive(self.grants[id_]):
                return "approval_expired"
            self.grants[id_].left -= 1
            return "allowed"
        one = self.approvals[id_]
        match self.stands(one):
            case "approved":
                one.state = "consumed"
                return "allowed"
            case "consumed":
                return "approval_mismatch"
            case _:
                return "approval_expired"
