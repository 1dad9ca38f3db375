"""Who is who, and who may still do what: the rules once more, by hand, without the code that is tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MONTH_MS = 30 * 86_400_000
TENANTS = ("acme", "globex")
USERS = {"alice": ("acme", ("example/red",)), "bob": ("globex", ("*",))}
WRITTEN = {"built": ("acme", ("example/red",), ("alice",))}
"""Agents of the configuration: tenant, accounts, whom they may act for."""
ACCOUNTS = {"example/red": "acme", "example/blue": "globex", "second/main": "acme"}
PROVIDERS = {"example": ("example",), "second": ("second", "example")}
"""By what names a profile is locked."""

type Who = tuple[str, str, tuple[str, ...], str | None]
"""An agent's name, tenant and accounts, and its user."""


@dataclass
class Clocks:
    wall_ms: int = 0
    steady_s: float = 0
    boot: int = 0


@dataclass
class Agent:
    """`life`: how often it was revoked."""

    tenant: str | None = None
    accounts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    revoked: bool = False
    life: int = 0


@dataclass
class Token:
    agent: str
    life: int
    end_ms: int | None


@dataclass
class Task:
    """A task token: what it says, then what each holder has added."""

    agent: str
    life: int
    user: str | None
    ends_ms: tuple[int, ...]
    sources: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    above: Task | None = None
    revoked: bool = False


@dataclass
class Operator:
    role: str
    tenant: str | None
    revoked: bool = False
    life: int = 0


@dataclass
class Pass:
    """An operator's token."""

    name: str
    life: int
    role: str
    end_ms: int


@dataclass
class Login:
    """`group`: what was proved."""

    name: str
    group: str
    role: str | None
    made_ms: int
    end_ms: int
    ended: bool = False


@dataclass
class Key:
    approver: str
    tenant: str | None
    confirmed: bool = False
    revoked: bool = False


@dataclass
class Grant:
    """`behind`: who stands behind it, with which key."""

    tenant: str
    behind: dict[str, str | None]
    wall_end_ms: int
    steady_end_s: float
    boot: int
    ended: bool = False


@dataclass
class Rules:
    """What of the configuration says who operators are: groups with role and tenant, how long a login counts."""

    groups: dict[str, tuple[str, str | None]]
    login_s: int


@dataclass
class Oracle:
    """What must be true now."""

    rules: Rules
    now: Clocks = field(default_factory=Clocks)
    agents: dict[str, Agent] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    passes: dict[str, Pass] = field(default_factory=dict)
    logins: dict[str, Login] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    locks: set[tuple[str, str]] = field(default_factory=set)

    # -- agents

    def agent(self, name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
        """Tenant, accounts and users of an agent that there is now: what the configuration says goes first."""
        row = self.agents.get(name)
        if row is not None and row.revoked:
            return None
        if name in WRITTEN:
            return WRITTEN[name]
        if row is None or row.tenant not in TENANTS:
            return None
        return row.tenant, row.accounts, row.users

    def add_agent(self, name: str, accounts: tuple[str, ...], about: tuple[str, tuple[str, ...]] | None) -> None:
        row = self.agents.setdefault(name, Agent())
        if row.revoked or row == Agent():
            row.accounts, row.tenant, row.users = accounts, None, ()
        row.revoked = False
        row.accounts = accounts or row.accounts
        if about is not None:
            row.tenant, row.users = about

    def revoke_agent(self, name: str) -> bool:
        row = self.agents.get(name)
        if row is None or row.revoked:
            return False
        row.revoked, row.life = True, row.life + 1
        return True

    def life(self, name: str) -> int:
        return self.agents[name].life if name in self.agents else 0

    def bears(self, token: Token) -> Who | None:
        """Whose a token is now."""
        found = self.agent(token.agent)
        over = token.end_ms is not None and self.now.wall_ms >= token.end_ms
        if found is None or over or token.life != self.life(token.agent):
            return None
        return token.agent, found[0], found[1], None

    def works(self, task: Task, source: str) -> Who | None:
        """Whose a task token is now that comes from `source`."""
        one: Task | None = task
        while one is not None:
            if one.revoked or (one.sources and source not in one.sources):
                return None
            one = one.above
        found = self.agent(task.agent)
        if found is None or task.life != self.life(task.agent) or self.now.wall_ms >= min(task.ends_ms):
            return None
        if task.user is not None and not self.may_act(task.agent, task.user):
            return None
        return task.agent, found[0], found[1], task.user

    def may_act(self, agent: str, user: str) -> bool:
        found = self.agent(agent)
        return found is not None and user in found[2] and USERS[user][0] == found[0]

    def permits(self, task: Task | None, account: str) -> bool:
        """Whether no limit of a task token is in the way of a call with `account`."""
        while task is not None:
            if task.accounts and account not in task.accounts:
                return False
            task = task.above
        return True

    def covers(self, who: Who, account: str) -> bool:
        """Whether the account is theirs to use: the agent's, and the user's for whom it acts."""
        _, tenant, accounts, user = who
        parties = [(tenant, accounts)] if user is None else [(tenant, accounts), USERS[user]]
        provider = account.partition("/")[0]
        return all(
            one == ACCOUNTS[account] and bool({"*", f"{provider}/*", account} & set(theirs)) for one, theirs in parties
        )

    def locked(self, who: Who, account: str | None) -> bool:
        name, tenant, _, user = who
        names = {("all", ""), ("agent", name), ("tenant", tenant), ("user", user)}
        if account is not None:
            names |= {("account", account), *(("provider", one) for one in PROVIDERS[account.partition("/")[0]])}
        return bool(names & self.locks)

    # -- operators

    def add_operator(self, name: str, role: str, tenant: str | None) -> bool:
        old = self.operators.get(name)
        if old is not None and not old.revoked:
            return False
        self.operators[name] = Operator(role, tenant, life=0 if old is None else old.life)
        return True

    def revoke_operator(self, name: str) -> bool:
        """With all that speaks for them."""
        one = self.operators.get(name)
        if one is None or one.revoked:
            return False
        one.revoked, one.life = True, one.life + 1
        for id_, key in self.keys.items():
            if (key.approver, key.tenant) == (name, one.tenant):
                self.revoke_key(id_)
        for grant in self.grants.values():
            if name in grant.behind and one.tenant in (None, grant.tenant):
                grant.ended = True
        return True

    def revoke_key(self, id_: str) -> bool:
        was = self.keys[id_].revoked
        self.keys[id_].revoked = True
        for grant in self.grants.values():
            if not was and id_ in grant.behind.values():
                grant.ended = True
        return not was

    def counts(self, id_: str) -> bool:
        return self.keys[id_].confirmed and not self.keys[id_].revoked

    def alive(self, grant: Grant) -> bool:
        steady = self.now.boot == grant.boot and self.now.steady_s >= grant.steady_end_s
        return not grant.ended and self.now.wall_ms < grant.wall_end_ms and not steady

    def operates(self, text: str) -> tuple[str, str, str, str | None] | None:
        """Name, role, the token's role and tenant of whoever has this token, or this login."""
        if text in self.passes:
            mine = self.passes[text]
            who = self.operators[mine.name]
            if who.revoked or who.life != mine.life or self.now.wall_ms >= mine.end_ms:
                return None
            return mine.name, who.role, mine.role, who.tenant
        login = self.logins.get(text)
        if login is None or login.ended or login.group not in self.rules.groups:
            return None
        if self.now.wall_ms >= min(login.end_ms, login.made_ms + self.rules.login_s * 1000):
            return None
        role, tenant = self.rules.groups[login.group]
        return login.name, role, login.role or role, tenant

    def log_in(self, subject: str, wanted: str, once: str) -> str:
        """The name that a login gives; `spent`, or `taken`."""
        gone = {text for text, one in self.logins.items() if one.end_ms < self.now.wall_ms - MONTH_MS}
        if self.spent.get(once) in self.logins.keys() - gone:
            return "spent"
        if subject not in self.people and wanted in self.people.values():
            return "taken"
        for text in gone:
            del self.logins[text]
        return self.people.setdefault(subject, wanted)

    def entitled(self, name: str, sees: str | None, tenant: str, agent: str) -> bool:
        """Whether an operator of `sees` decides about what this agent asks for."""
        return sees in (None, tenant) and name != agent

    def texts(self) -> Iterable[str]:
        """Every token and login of operators that there was."""
        return (*self.passes, *self.logins)
