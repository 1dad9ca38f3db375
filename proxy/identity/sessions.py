"""Logins of operators in the database that sidecars share. A session's token is shown once; its digest is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import and_, delete, insert, or_, select, update

from proxy.db.engine import take_turns, writing
from proxy.db.tables import operator_people, operator_sessions
from proxy.identity.tokens import new_token
from proxy.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine

    from proxy.clock import Clock
    from proxy.identity.id_token import Pair, Person
    from proxy.model import Operator
    from proxy.operator_settings import OidcProvider

PREFIX: Final = "bcs"
KEPT_MS: Final = 30 * 86_400_000
"""How long a session is listed after its end. Longer than an ID token can be used, which must not buy another."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login; `ceiling` is the lesser role that was asked for. See `Person` for `user` and `proved`."""

    id: str
    name: str
    issuer: str
    client_id: str
    proved: tuple[Pair, ...]
    ceiling: Role | None
    user: str | None
    digest: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None


class SpentError(Exception):
    """The ID token, or another one of the same login, has bought a session before."""


class NameTakenError(Exception):
    """Somebody else of this provider has the name."""


def name_of(database: Engine, issuer: str, person: Person) -> str:
    """The operator that `person` is: the name of their first login. Raises `NameTakenError`."""
    with database.connect() as connection:
        return _name(connection, issuer, person)[0]


def spent(database: Engine, issuer: str, person: Person) -> bool:
    """Whether this login has bought a session."""
    query = select(operator_sessions.c.session_id).where(operator_sessions.c.login == _login(issuer, person.once))
    with database.connect() as connection:
        return connection.execute(query).first() is not None


def start(
    database: Engine, provider: OidcProvider, person: Person, *, role: Role | None, ttl_s: int, clock: Clock
) -> tuple[Session, str]:
    """The session that a login buys, with its token; at most one.

    Raises:
        SpentError, NameTakenError: see there.
    """
    session_id, token, digest = new_token(PREFIX)
    now_ms, login = clock.wall_ms(), _login(provider.issuer, person.once)
    with writing(database) as connection:
        take_turns(connection, "operator logins")
        connection.execute(delete(operator_sessions).where(operator_sessions.c.expires_at_ms < now_ms - KEPT_MS))
        if connection.execute(select(operator_sessions.c.login).where(operator_sessions.c.login == login)).first():
            raise SpentError
        name, known = _name(connection, provider.issuer, person)
        if not known:
            new = {"issuer": provider.issuer, "subject": person.subject, "label": provider.label, "name": name}
            connection.execute(insert(operator_people).values(created_at_ms=now_ms, **new))
        row = {
            "session_id": session_id,
            "login": login,
            "digest": digest,
            "name": name,
            "issuer": provider.issuer,
            "client_id": provider.client_id,
            "proved": orjson.dumps(person.proved).decode(),
            "ceiling": role.value if role is not None else None,
            "user": person.user,
            "created_at_ms": now_ms,
            "expires_at_ms": now_ms + min(ttl_s, provider.session_s) * 1000,
            "revoked_at_ms": None,
        }
        connection.execute(insert(operator_sessions).values(row))
    return _session(row), token


def find(database: Engine, session_id: str) -> Session | None:
    """The session with this public id, revoked or not."""
    query = select(operator_sessions).where(operator_sessions.c.session_id == session_id)
    with database.connect() as connection:
        found = connection.execute(query).mappings().first()
    return None if found is None else _session(found)


def listed(database: Engine) -> list[Session]:
    """All that are kept, the newest first."""
    query = select(operator_sessions).order_by(operator_sessions.c.created_at_ms.desc(), operator_sessions.c.session_id)
    with database.connect() as connection:
        return [_session(row) for row in connection.execute(query).mappings()]


def other_names(database: Engine, operator: Operator) -> frozenset[str]:
    """The other names of the person that an operator is, where logins have said whom of `users:` they are.

    A local operator is the user of the same name (see `Operator.user`).
    """
    rows = operator_sessions.c
    with database.connect() as connection:
        if "/" in operator.name:
            said = select(rows.user).where(rows.name == operator.name, rows.user.is_not(None), rows.user != "")
            users = set(connection.execute(said).scalars()) | ({operator.user} if operator.user else set())
        else:
            users = {operator.name}
        names = connection.execute(select(rows.name).where(rows.user.in_(users))).scalars().all()
    return (frozenset(names) | users) - {operator.name}


def revoke(database: Engine, session_id: str, *, clock: Clock) -> bool:
    """End a session at once; False when there is none, or it was ended before."""
    there = (operator_sessions.c.session_id == session_id) & operator_sessions.c.revoked_at_ms.is_(None)
    with writing(database) as connection:
        return (
            connection.execute(update(operator_sessions).where(there).values(revoked_at_ms=clock.wall_ms())).rowcount
            > 0
        )


def _name(connection: Connection, issuer: str, person: Person) -> tuple[str, bool]:
    """The name, and whether it is written down. Raises `NameTakenError`."""
    people, me = operator_people.c, (issuer, person.subject, person.name.partition("/")[0])
    mine = and_(people.issuer == me[0], people.subject == me[1], people.label == me[2])
    # One statement: of two, the second could see what came between them.
    query = select(people.issuer, people.subject, people.label, people.name)
    rows = connection.execute(query.where(or_(mine, people.name == person.name))).all()
    for *who, name in rows:
        if tuple(who) == me:
            return str(name), True
    if rows:
        raise NameTakenError
    return person.name, False


def _login(issuer: str, once: str) -> str:
    return hashlib.sha256(f"{issuer}\0{once}".encode()).hexdigest()


def _session(values: Mapping[Any, Any]) -> Session:
    return Session(
        id=values["session_id"],
        name=values["name"],
        issuer=values["issuer"],
        client_id=values["client_id"],
        proved=tuple((claim, value) for claim, value in orjson.loads(values["proved"])),
        ceiling=Role(values["ceiling"]) if values["ceiling"] is not None else None,
        user=values["user"],
        digest=values["digest"],
        created_at_ms=values["created_at_ms"],
        expires_at_ms=values["expires_at_ms"],
        revoked_at_ms=values["revoked_at_ms"],
    )
