"""Operators and their tokens in the database. A token is shown once; its digest is what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, insert, or_, select, update

from proxy.db.engine import writing
from proxy.db.tables import operator_tokens, operators
from proxy.errors import BriefcaseError
from proxy.identity.store import NAME
from proxy.identity.tokens import new_token
from proxy.model import Role

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

    from proxy.clock import Clock

PREFIX: Final = "bco"
DEFAULT_HOURS: Final = 12
MAX_HOURS: Final = 24 * 90
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator, as its row says."""

    name: str
    role: Role
    tenant: str | None
    created_at_ms: int
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token: this is the only time it is seen."""

    token: str
    token_id: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token with its operator, revoked or not; `digest` is SHA-256 in hexadecimal, `role` the token's own."""

    operator: OperatorRow
    role: Role
    digest: str
    expires_at_ms: int
    revoked_at_ms: int | None


def add_operator(
    database: Engine, name: str, role: Role, *, clock: Clock, tenant: str | None = None, hours: int = DEFAULT_HOURS
) -> Issued:
    """Add an operator with a token, or give one that is revoked a new start.

    Raises:
        BriefcaseError: a bad name, or there is such an operator: a second call must not change who they are.
    """
    if not NAME.fullmatch(name) or (tenant is not None and not NAME.fullmatch(tenant)):
        raise BriefcaseError("a name is lower-case letters, digits, - and _, and starts with a letter")
    now_ms = clock.wall_ms()
    row = {"role": role.value, "tenant": tenant, "created_at_ms": now_ms, "revoked_at_ms": None}
    with writing(database) as connection:
        known = connection.execute(select(operators.c.revoked_at_ms).where(operators.c.name == name)).first()
        if known is None:
            connection.execute(insert(operators).values(name=name, **row))
        elif known.revoked_at_ms is None:
            raise BriefcaseError(f"there is an operator {name}; a further token: briefcased operators token {name}")
        else:
            connection.execute(update(operators).where(operators.c.name == name).values(row))
    return add_token(database, name, clock=clock, role=role, hours=hours)


def add_token(
    database: Engine, name: str, *, clock: Clock, role: Role | None = None, hours: int = DEFAULT_HOURS
) -> Issued:
    """A further token of an operator, with a role of its own where `role` says so: the lesser of the two counts.

    Raises:
        BriefcaseError: there is no such operator, or it is revoked.
    """
    token_id, token, digest = new_token(PREFIX)
    now_ms = clock.wall_ms()
    expires_at_ms = now_ms + min(hours, MAX_HOURS) * _HOUR_MS
    with writing(database) as connection:
        known = _row(connection.execute(select(operators).where(operators.c.name == name)).mappings().first())
        if known is None or known.revoked_at_ms is not None:
            raise BriefcaseError(f"there is no operator named {name} that is not revoked")
        connection.execute(
            insert(operator_tokens).values(
                token_id=token_id,
                operator=name,
                role=(role or known.role).value,
                digest=digest,
                created_at_ms=now_ms,
                expires_at_ms=expires_at_ms,
            )
        )
    return Issued(token, token_id, expires_at_ms)


def list_operators(database: Engine) -> list[OperatorRow]:
    """Every operator there ever was, by name."""
    with database.connect() as connection:
        rows = connection.execute(select(operators).order_by(operators.c.name)).mappings().all()
    return [row for one in rows if (row := _row(one)) is not None]


def is_revoked(database: Engine, name: str, tenant: str | None) -> bool:
    """Whether there was an operator of this name, of all tenants or of this very one, who is one no longer."""
    theirs = and_(operators.c.name == name, or_(operators.c.tenant.is_(None), operators.c.tenant == tenant))
    query = select(operators.c.name).where(theirs, operators.c.revoked_at_ms.is_not(None))
    with database.connect() as connection:
        return connection.execute(query).first() is not None


def find_token(database: Engine, token_id: str) -> TokenRow | None:
    """The token with this public id, with its operator."""
    token, mine = operator_tokens.c, operators.c
    query = (
        select(operators, token.role.label("own"), token.digest, token.expires_at_ms, token.revoked_at_ms.label("over"))
        .join(operators, mine.name == token.operator)
        .where(token.token_id == token_id)
    )
    with database.connect() as connection:
        found = connection.execute(query).mappings().first()
    operator = _row(found)
    if found is None or operator is None:
        return None
    return TokenRow(operator, Role(found["own"]), found["digest"], found["expires_at_ms"], found["over"])


def revoke_operator(database: Engine, name: str, *, clock: Clock) -> bool:
    """Revoke an operator with all tokens; False when there is none, or it was revoked before."""
    now_ms = clock.wall_ms()
    with writing(database) as connection:
        open_ = operators.c.revoked_at_ms.is_(None)
        done = connection.execute(update(operators).where(operators.c.name == name, open_).values(revoked_at_ms=now_ms))
        theirs = (operator_tokens.c.operator == name) & operator_tokens.c.revoked_at_ms.is_(None)
        connection.execute(update(operator_tokens).where(theirs).values(revoked_at_ms=now_ms))
    return done.rowcount > 0


def _row(found: RowMapping | None) -> OperatorRow | None:
    if found is None:
        return None
    return OperatorRow(
        found["name"], Role(found["role"]), found["tenant"], found["created_at_ms"], found["revoked_at_ms"]
    )
