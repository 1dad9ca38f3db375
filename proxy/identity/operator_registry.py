"""Judges who an operator is: by a token, or by the user at the other end of a unix socket.

An agent's token is never one of these: it has another prefix, and another table (J-07).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.identity.id_token import rule_for
from proxy.identity.operators import find_token
from proxy.identity.sessions import PREFIX, find
from proxy.identity.throttle import Throttle
from proxy.identity.tokens import MAX_HEADER_CHARACTERS, OPERATOR_TOKEN, digest_of
from proxy.model import Operator, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Engine

    from proxy.clock import Clock
    from proxy.identity.sessions import Session
    from proxy.operator_settings import LocalOperator, OperatorSettings

LOCAL: Final = "local"
"""The name of the sidecar's own user, where the configuration gives it none."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody; after too many attempts from one place it must wait so many seconds (O-08)."""

    wait_s: int = 0


class OperatorRegistry:
    """One per process. A token is looked up at every call, so that a revoked one is worth nothing at once.

    `shared` has the sessions; what one gives is judged by `settings`, those of now.
    """

    def __init__(
        self, database: Engine, shared: Engine, settings: Callable[[], OperatorSettings], clock: Clock
    ) -> None:
        self._database: Final = database
        self._shared: Final = shared
        self._settings: Final = settings
        self._clock: Final = clock
        self._throttle: Final = Throttle()

    def by_token(self, authorization: str | None, source: str) -> Operator | Unknown:
        """Whose token the header `Authorization` carries. Blocks for a query; raises `SQLAlchemyError`."""
        if authorization is None:
            return Unknown()
        found = self._judged(authorization)
        if found is not None:  # always, or an agent on this machine could lock out its operators
            return found
        now_s = self._clock.monotonic_s()
        if (wait_s := self._throttle.wait_s(source, now_s)) > 0:
            return Unknown(wait_s)
        self._throttle.failed(source, now_s)
        return Unknown()

    def standing(self, session: Session) -> Operator | None:
        """Who may do what by this session now; None where it counts no more."""
        now_ms = self._clock.wall_ms()
        wanted = (session.issuer, session.client_id)
        for one in self._settings().oidc:
            if (one.issuer, one.client_id) != wanted or session.name.partition("/")[0] != one.label:
                continue
            end_ms = min(session.expires_at_ms, session.created_at_ms + one.session_s * 1000)
            rule = rule_for(one, session.proved)
            if session.revoked_at_ms is not None or now_ms >= end_ms or rule is None:
                return None
            anybody = session.user is None or one.user is None
            ceiling, user = session.ceiling or rule.role, session.user or None
            return Operator(session.name, rule.role, ceiling, rule.tenant, f"session:{session.id}", user, anybody)
        return None

    def _judged(self, authorization: str) -> Operator | None:
        """Compares a digest, always, in constant time."""
        scheme, _, token = authorization[:MAX_HEADER_CHARACTERS].partition(" ")
        shape = OPERATOR_TOKEN.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
        if shape is not None and f"bc{shape[1]}" == PREFIX:
            session = find(self._shared, shape[2])
            expected = session.digest if session is not None else digest_of("")
            matches = hmac.compare_digest(digest_of(token.strip()), expected)
            return self.standing(session) if session is not None and matches else None
        row = find_token(self._database, shape[2]) if shape is not None else None
        expected = row.digest if row is not None else digest_of("")
        matches = hmac.compare_digest(digest_of(token.strip()), expected)
        if shape is None or row is None or not matches or self._clock.wall_ms() >= row.expires_at_ms:
            return None
        if row.revoked_at_ms is not None or row.operator.revoked_at_ms is not None:
            return None
        one = row.operator
        return Operator(one.name, one.role, row.role, one.tenant, f"token:{shape[2]}")


def by_uid(uid: int, known: Iterable[LocalOperator], *, own_uid: int) -> Operator | None:
    """Who the user `uid` of this machine is. The sidecar's own user is an admin, unless the configuration says else."""
    for one in known:
        if one.uid == uid:
            return Operator(one.name, one.role, one.role, one.tenant, f"uid:{uid}")
    if uid == own_uid:
        return Operator(LOCAL, Role.ADMIN, Role.ADMIN, None, f"uid:{uid}")
    return None
