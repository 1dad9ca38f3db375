"""/logins and /sessions: people of an OpenID provider become operators for a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from proxy.api.logins import KeysUnavailableError
from proxy.api.models import Done
from proxy.api.problems import ProblemError
from proxy.api.session_models import LoginsView, LoginView, NewSession, SessionsView, SessionToken, SessionView
from proxy.db.threads import in_thread
from proxy.identity import sessions
from proxy.identity.id_token import Refusal, nonce_for, rule_for
from proxy.model import Role

if TYPE_CHECKING:
    from proxy.api.call import Call, Visit
    from proxy.identity.id_token import Person
    from proxy.identity.sessions import Session
    from proxy.model import Operator
    from proxy.operator_settings import OidcProvider

CURRENT = "current"
_VIA = "session:"


async def ways(visit: Visit) -> LoginsView:
    """Where operators may log in."""
    return LoginsView(
        logins=[
            LoginView(
                label=one.label,
                issuer=one.issuer,
                client_id=one.client_id,
                scope=one.scope,
                redirect=one.redirect,
                device=one.device,
            )
            for one in visit.logins.providers()
        ]
    )


async def login(visit: Visit) -> SessionToken:
    """Exchange an ID token for a session; one buys one. Every attempt is receipted, also what is refused."""
    asked, shared = visit.sent(NewSession), visit.services.shared
    nonce = nonce_for(asked.verifier, visit.host)
    try:
        found = await visit.logins.person(asked.id_token, nonce)
    except KeysUnavailableError:
        raise ProblemError("unavailable", "The keys of the OpenID provider cannot be read.", retry_after_s=5) from None
    if isinstance(found, Refusal):
        raise await _refused(visit, found)
    provider, person = found
    try:
        name = await in_thread(sessions.name_of, shared, provider.issuer, person)
        if await in_thread(sessions.spent, shared, provider.issuer, person):
            raise await _refused(visit, Refusal("replayed", name))
        await _record(visit, provider, person, name)
        start = partial(sessions.start, role=asked.role, ttl_s=asked.ttl_s or provider.session_s)
        session, token = await in_thread(start, shared, provider, person, clock=visit.services.clock)
    except sessions.SpentError:
        raise await _refused(visit, Refusal("replayed", name)) from None
    except sessions.NameTakenError:
        raise await _refused(visit, Refusal("name_taken", person.name)) from None
    rule = rule_for(provider, person.proved)
    assert rule is not None  # else nothing was proved
    role = asked.role or rule.role
    return SessionToken(id=session.id, name=session.name, role=role, token=token, expires_at_ms=session.expires_at_ms)


async def list_(call: Call) -> SessionsView:
    """Those that count, the caller's own; for an admin, everybody's that they may see."""
    found = await in_thread(sessions.listed, call.services.shared)
    return SessionsView(sessions=[shown for one in found if (shown := _view(call, one)) is not None])


async def end(call: Call) -> Done:
    """End one's own session, as `current` or by its id; an admin ends anybody's that they may see."""
    wanted, services = call.names["id"], call.services
    if wanted == CURRENT:
        wanted = call.operator.via.removeprefix(_VIA) if call.operator.via.startswith(_VIA) else ""
    found = await in_thread(sessions.find, services.shared, wanted)
    if found is None or _view(call, found) is None:
        raise ProblemError("not_found")
    own = found.name == call.operator.name
    await call.record("operator_logout" if own else "session_revoke", found.name, session=found.id)
    if not await in_thread(sessions.revoke, services.shared, found.id, clock=services.clock):
        raise ProblemError("not_found")
    return Done()


def _view(call: Call, session: Session) -> SessionView | None:
    """The session as the caller may see it; None where it is over, or not for them."""
    standing = call.registry.standing(session)
    over = session.revoked_at_ms is not None or session.expires_at_ms <= call.services.clock.wall_ms()
    if over or not (session.name == call.operator.name or _administers(call.operator, standing)):
        return None
    return SessionView(
        id=session.id,
        name=session.name,
        role=standing.role if standing is not None else None,
        tenant=standing.tenant if standing is not None else None,
        created_at_ms=session.created_at_ms,
        expires_at_ms=session.expires_at_ms,
        current=call.operator.via == f"{_VIA}{session.id}",
    )


def _administers(operator: Operator, other: Operator | None) -> bool:
    """Whether `operator` is an admin of all tenants, or of the only one of `other`."""
    if operator.role is not Role.ADMIN or operator.ceiling is not Role.ADMIN:
        return False
    return operator.tenant is None or (other is not None and other.tenant == operator.tenant)


async def _record(visit: Visit, provider: OidcProvider, person: Person, name: str) -> None:
    rule = rule_for(provider, person.proved)
    assert rule is not None
    told = {"role": rule.role.value, "issuer": provider.issuer, "tenant": rule.tenant}
    await visit.services.receipts.record_change(
        {**told, "by": name, "via": f"oidc:{visit.source}", "change": "operator_login", "target": name}
    )


async def _refused(visit: Visit, refusal: Refusal) -> ProblemError:
    """What the visitor is told, after a receipt; who goes on and on is told to wait, and fills no receipts."""
    if (wait_s := visit.logins.wait_s(visit.source)) > 0:
        return ProblemError("throttled", retry_after_s=wait_s)
    who = refusal.name or "-"
    await visit.services.receipts.record_change(
        {
            "by": who,
            "via": f"oidc:{visit.source}",
            "change": "operator_login",
            "target": refusal.name,
            "tenant": None,
            "refused": refusal.fault,
        }
    )
    if refusal.fault == "no_role":
        return ProblemError("forbidden", "Nothing gives you a role here.")
    if refusal.fault == "name_taken":
        return ProblemError("conflict", "Somebody else of this provider has your name here.")
    return ProblemError("unauthenticated", "This ID token gives no session here.")
