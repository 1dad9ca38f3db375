"""identify: which profile and account a call is for, by whose stand-ins, and what of its head is left. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import set_query
from proxy.credentials.answers.fields import body_fields
from proxy.errors import Denial
from proxy.firewall import COMPRESSED_MESSAGES, accept_encoding
from proxy.judging import NOT_COVERED, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.matcher import Match
    from proxy.catalog.schema import Operation
    from proxy.credentials import CredentialSpec
    from proxy.credentials.standin import StandIn
    from proxy.decided import Generation
    from proxy.model import AccountId, Agent, RequestHead

NEVER_ASKED: Final = frozenset({"accept-encoding", *COMPRESSED_MESSAGES})
"""Written anew."""


def match_of(generation: Generation, agent: Agent, head: RequestHead, body: bytes | None) -> Match | None:
    """What the request is. Of several profiles with this token host, for the one whose stand-in the request carries.

    Without a stand-in: for one that the agent may use, and one that answers it before one that passes it on.
    """
    among = generation.catalog.shared(head)
    if not among:
        return generation.catalog.match(head)
    named = {stand_in.account.provider for stand_in in stand_ins_in(generation, head, body)}
    fields = dict(body_fields(head, body or b"") or ())

    def rank(match: Match) -> tuple[bool, bool, bool, bool]:
        accounts = generation.accounts.get(match.profile.name, ())
        answer = match.operation.answer if match.operation is not None else None
        return (
            match.profile.name in named,
            match.operation is not None,
            any(agent.may_use(account.id, account.tenant) for account in accounts),
            answer is not None and answer.takes(fields),
        )

    return max(among, key=rank)


def stand_ins_in(generation: Generation, head: RequestHead, body: bytes | None) -> tuple[StandIn, ...]:
    """Those that the request carries where a credential can stand, `body` included where it is given."""
    found = generation.stand_ins.find(head)
    if body:
        fields = body_fields(head, body) or ()
        found += generation.stand_ins.among(value for _, value in fields)
    return found


def account_for(
    generation: Generation,
    agent: Agent,
    match: Match,
    found: tuple[StandIn, ...],
    covered: Callable[[AccountId], bool],
) -> BoundAccount | Denial:
    """By stand-in, else the default account, else the only one that the agent may use."""
    provider = match.profile.name
    accounts = generation.accounts.get(provider, ())
    if not accounts:
        return Denial("not_connected", "No account is configured for this provider.", by="match")
    named = {stand_in.account for stand_in in found}
    if any(s.agent != agent.name or s.account.provider != provider for s in found):
        return Denial("credential_scope", "This stand-in belongs to another provider or agent.", by="identify")
    if len(named) > 1:
        return Denial("credential_scope", "Stand-ins of two accounts in one request.", by="identify")
    granted = [a for a in accounts if agent.may_use(a.id, a.tenant) and (not named or a.id in named)]
    usable = [a for a in granted if covered(a.id)]
    if granted and not usable:
        return NOT_COVERED
    if named:
        chosen = [a for a in usable if a.id in named]
    else:
        chosen = [a for a in usable if a.is_default] or (usable if len(usable) == 1 else [])
    if not chosen:
        detail = "This agent may not use an account of this provider, or must say which by its stand-in."
        return Denial("policy_denied", detail, by="policy")
    return chosen[0]


def credentials_for(
    account: BoundAccount, operation: Operation, found: tuple[StandIn, ...], captured: Mapping[str, str]
) -> tuple[tuple[str, CredentialSpec], ...] | Denial:
    """What the call may be presented with, in order; empty where it needs nothing, or may be answered here."""
    if len(captured) < sum(one.captured is not None for one in found):
        return Denial("credential_scope", "Two captured secrets of one kind in one request.", by="identify")
    if operation.anonymous:
        return ()
    credentials = account.credentials_for(operation, captured)
    if not credentials and captured:
        return Denial("credential_scope", "This key does not serve for this operation.", by="match")
    if not credentials and operation.answer is None:
        return Denial("not_connected", "The account has no secret that fits this operation.", by="match")
    return credentials


def cleaned(head: RequestHead, match: Match, account: BoundAccount, read: frozenset[str]) -> RequestHead:
    """As it leaves, but for the credential."""
    operation = match.operation
    head = without_credentials(head, match, read)
    ours = (*((name.lower(), value) for name, value in account.account.headers.items()),)
    query = head.query
    for name, value in account.account.query.items():
        query = set_query(query, name, value)
    kept = tuple(
        (name, value)
        for name, value in head.headers
        if name not in NEVER_ASKED and (name not in ("range", "if-range") or (operation and operation.allow_range))
    )
    encoding = ("accept-encoding", accept_encoding(head.header("accept-encoding")))
    plain = tuple((name, "identity") for name, _ in head.headers if name in COMPRESSED_MESSAGES)
    # A profile's `https` host asked for over plain HTTP leaves over TLS (http_upgrade).
    upgraded = head.scheme == "http" and match.host_rule.scheme == "https"
    authority = replace(head.authority, port=match.host_rule.port) if upgraded else head.authority
    return replace(
        head, scheme=match.host_rule.scheme, authority=authority, query=query, headers=(*kept, *ours, *plain, encoding)
    )
