"""What the receipts of an exchange say: ids, names and numbers; never a query, a body or a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.exchange import Exchange, Outcome


def decision_entry(exchange: Exchange, *, path: str | None) -> dict[str, str | int | bool | None]:
    """The fields of a decision, but for the decision itself. `path` is the one that may be written down."""
    head, tunnel = exchange.head, exchange.tunnel
    authority = head.authority if head is not None else tunnel.authority
    skipped = {"skipped": ",".join(exchange.skipped)} if exchange.skipped else {}
    return {
        "id": exchange.id,
        "capture": tunnel.capture.value,
        "agent": tunnel.agent.name,
        "tenant": tunnel.agent.tenant,
        "token_id": tunnel.agent.token_id,
        "generation": exchange.generation,
        "method": head.method if head is not None else None,
        "scheme": head.scheme if head is not None else None,
        "host": authority.host if authority is not None else None,
        "port": authority.port if authority is not None else None,
        "path": path,
        "profile": exchange.profile,
        "operation": exchange.operation,
        "action": exchange.action,
        **({"calls": amounts(exchange.calls)} if sum(exchange.calls.values()) > 1 else {}),
        "account": exchange.account,
        "credential": exchange.credential,
        "credential_kind": exchange.credential_kind,
        "credential_token": exchange.credential_token,
        **skipped,
        "answered": exchange.answered,
        "policies": " ".join(exchange.policies) or None,
        "observed": exchange.observed,
        **({"candidate": exchange.candidate} if exchange.candidate is not None else {}),
        "risk": exchange.risk,
        "risk_reasons": " ".join(exchange.risk_reasons) or None,
        "approval": exchange.approval,
        "approvers": " ".join(exchange.approvers) or None,
        **_reserved(exchange),
        "upstream_proxy": str(exchange.via.authority) if exchange.via is not None else None,
    }


def amounts(by_unit: Mapping[str, int]) -> str:
    """As receipts write them: `requests=1 usd=1200`, money in micro-dollars."""
    return " ".join(f"{unit}={amount}" for unit, amount in sorted(by_unit.items()))


def _reserved(exchange: Exchange) -> dict[str, str | int | bool | None]:
    if not exchange.budgets:
        return {}
    return {
        "budgets": " ".join(exchange.budgets),
        "budget_warnings": " ".join(exchange.budget_warnings) or None,
        "reserved": amounts(exchange.reserved),
        "priced_as": exchange.priced_as,
    }


def outcome_entry(exchange: Exchange, outcome: Outcome, *, now_s: float) -> Mapping[str, str | int | None]:
    """The fields of an outcome at `now_s` on the monotonic clock."""
    socket: dict[str, str | int | None] = {}
    if exchange.messages is not None:
        socket = {
            "close_code": exchange.close_code,
            "messages_sent": exchange.messages_sent,
            "messages_received": exchange.messages_received,
        }
    if exchange.attempts > 1:
        socket |= {"attempts": exchange.attempts}
    if exchange.captured is not None:
        socket |= {"captured": exchange.captured}
    if exchange.redacted:
        socket |= {"redacted": exchange.redacted}
    if exchange.used is not None:
        socket |= {
            "used": amounts(exchange.used),
            "estimated": " ".join(exchange.estimated_units) or None,
            "over": " ".join(exchange.over_units) or None,
        }
    return {
        **socket,
        "of": exchange.id,
        "outcome": outcome.value,
        "error": exchange.denial.slug if exchange.denial is not None else exchange.fault,
        "status": exchange.status,
        "address": exchange.dialled_address,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
        "redactions": exchange.redactions,
        "duration_ms": int((now_s - exchange.started_s) * 1000),
    }
