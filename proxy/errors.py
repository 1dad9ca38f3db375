"""Every refusal there is: slug, status, title and the advice an agent gets.

A refusal is a value, `Denial`; pure code returns it, services raise `Refused`, the two edges (front, addons) render it.
Documented in `docs/errors.md`, which a test holds against this table. Form: RFC 9457, with RFC 9209 `Proxy-Status`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_BASE: Final = "urn:briefcased:error:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: what every refusal with this slug has in common."""

    status: int
    title: str
    advice: str
    proxy_status: str  # RFC 9209, section 2.3: the registered error type that fits best


_OUR_POLICY = "http_request_denied"
_BAD_REQUEST = "http_request_error"
_INTERNAL = "proxy_internal_error"

KINDS: Final[Mapping[str, Kind]] = {
    "malformed_request": Kind(
        400, "Malformed request", "Send a well-formed HTTP request; do not retry this one unchanged.", _BAD_REQUEST
    ),
    "ambiguous_request": Kind(
        400,
        "Ambiguous request",
        "Send path, headers and body in one plain form: no encoded slashes, dot segments, duplicates or compression.",
        _BAD_REQUEST,
    ),
    "ca_not_trusted": Kind(
        400,
        "The agent does not trust the CA",
        "Trust the CA bundle that the operator gave you; every library has its own variable or option for it.",
        "tls_alert_received",
    ),
    "agent_tls_failed": Kind(
        400,
        "TLS handshake with the agent failed",
        "Speak TLS 1.2 or later to the host named in CONNECT, and trust the operator's CA bundle.",
        "tls_protocol_error",
    ),
    "destination_not_allowed": Kind(
        403,
        "Destination not allowed",
        "This host is not in any enabled profile. Ask the operator to enable a profile for it; do not look for a way"
        " around the proxy.",
        "destination_ip_prohibited",
    ),
    "destination_forbidden_address": Kind(
        403,
        "Forbidden address",
        "The destination is a private, local or metadata address. Ask the operator to allow this target by name.",
        "destination_ip_prohibited",
    ),
    "operation_not_allowed": Kind(
        403,
        "Operation not in profile",
        "The profile for this host does not list this method and path. Use a listed operation or ask the operator.",
        _OUR_POLICY,
    ),
    "policy_denied": Kind(
        403,
        "Denied by policy",
        "The operator's rules do not allow this call. Do not retry; ask the operator if you need it.",
        _OUR_POLICY,
    ),
    "credential_scope": Kind(
        403,
        "Credential not for this place",
        "A stand-in works only at its own service, and providers are reached over https. Correct the URL or the key.",
        _OUR_POLICY,
    ),
    "credential_revoked": Kind(
        403,
        "Credential withdrawn",
        "The provider has withdrawn this account's grant. Do not retry; ask the operator to connect the account again.",
        _OUR_POLICY,
    ),
    "consent_required": Kind(
        403,
        "Consent needed",
        "The configuration would send this account's secrets to a new place. Do not retry; the operator must consent.",
        _OUR_POLICY,
    ),
    "not_connected": Kind(
        403,
        "No account connected",
        "No account is configured, or connected, for this provider. Ask the operator to add or connect one.",
        _OUR_POLICY,
    ),
    "approval_required": Kind(
        403,
        "Approval needed",
        "A person must approve this call. Send exactly the same call again after the given time; do not change it.",
        _OUR_POLICY,
    ),
    "approval_rejected": Kind(
        403, "Approval refused", "An approver said no. Do not send this call again; ask the operator why.", _OUR_POLICY
    ),
    "approval_expired": Kind(
        403,
        "Approval over",
        "Nobody decided in time, or the approval was not used in time. Send the call again if it is still wanted.",
        _OUR_POLICY,
    ),
    "approval_mismatch": Kind(
        403,
        "Not what was approved",
        "An approval is for one exact call, once. Send exactly the approved call, or ask for another approval.",
        _OUR_POLICY,
    ),
    "method_not_allowed": Kind(405, "Method not allowed", "Use a method that the profile lists.", _OUR_POLICY),
    "proxy_auth_required": Kind(
        407,
        "Proxy authentication required",
        "Send the agent token in Proxy-Authorization; it is part of the proxy URL you were given.",
        _OUR_POLICY,
    ),
    "request_timeout": Kind(
        408, "Request timeout", "Send the body without pauses; this call must be read whole before it is sent.",
        _BAD_REQUEST,
    ),
    "request_too_large": Kind(413, "Request too large", "Send a smaller body, or split the call.", _BAD_REQUEST),
    "uri_too_long": Kind(414, "URI too long", "Send a shorter URL.", _BAD_REQUEST),
    "authority_mismatch": Kind(
        421,
        "Authorities differ",
        "CONNECT host, TLS server name and Host header must be the same host.",
        _BAD_REQUEST,
    ),
    "invalid_request": Kind(422, "Invalid request", "Correct the fields named in this document.", _BAD_REQUEST),
    "proxy_auth_throttled": Kind(
        429, "Too many failed authentications", "Wait, then retry with the right agent token.", _OUR_POLICY
    ),
    "budget_exceeded": Kind(
        429,
        "Budget used up",
        "Nothing was sent. Wait until the budget resets, or ask the operator for more; smaller calls may still fit.",
        _OUR_POLICY,
    ),
    "rate_limited": Kind(429, "Too many calls", "Wait for the given time, then retry.", _OUR_POLICY),
    "header_too_large": Kind(431, "Headers too large", "Send fewer or shorter headers.", _BAD_REQUEST),
    "credential_unavailable": Kind(
        502,
        "Credential unavailable",
        "The credential for this account could not be obtained. Tell the operator; retrying at once will not help.",
        _INTERNAL,
    ),
    "token_endpoint_error": Kind(
        502,
        "No token from the provider",
        "The provider gave no token for this account. Retry after the given time; tell the operator if it goes on.",
        "destination_unavailable",
    ),
    "upstream_tls_untrusted": Kind(
        502,
        "Upstream TLS not trusted",
        "The provider's certificate could not be verified. Nothing was sent. Tell the operator.",
        "tls_certificate_error",
    ),
    "upstream_unreachable": Kind(
        502, "Upstream unreachable", "The provider could not be reached. Retry later.", "destination_unavailable"
    ),
    "upstream_proxy_unavailable": Kind(
        502,
        "Upstream proxy unavailable",
        "The operator's own proxy could not be used. Nothing was sent to the provider. Retry later; tell the operator.",
        "destination_unavailable",
    ),
    "upstream_proxy_auth": Kind(
        502,
        "Upstream proxy wants other credentials",
        "The operator's own proxy does not let the sidecar through. Your token is fine; tell the operator.",
        "proxy_configuration_error",
    ),
    "upstream_proxy_refused": Kind(
        502,
        "Refused by the upstream proxy",
        "The operator's own proxy does not allow this destination. Do not retry; ask the operator.",
        "connection_refused",
    ),
    "response_withheld": Kind(
        502,
        "Response withheld",
        "The provider's answer could not be checked for secrets, so it is not passed on.",
        "http_response_incomplete",
    ),
    "overloaded": Kind(503, "Overloaded", "Too many requests at once. Retry after the given time.", _INTERNAL),
    "draining": Kind(503, "Shutting down", "The proxy is stopping. Retry after the given time.", _INTERNAL),
    "locked_down": Kind(
        503,
        "Stopped by the operator",
        "The operator has stopped this agent, account or provider for now. Do not retry; ask the operator.",
        _OUR_POLICY,
    ),
    "policy_unavailable": Kind(
        503, "Decision unavailable", "The proxy could not decide about this call. Tell the operator.", _INTERNAL
    ),
    "approval_unavailable": Kind(
        503, "Approvals unavailable", "Nobody can be asked now. Nothing was sent. Retry later.", _INTERNAL
    ),
    "budget_unavailable": Kind(
        503, "Budgets unavailable", "Nothing can be reserved now. Nothing was sent. Retry later.", _INTERNAL
    ),
    "receipt_unavailable": Kind(
        503, "Receipt unavailable", "The proxy cannot record calls now and refuses them. Tell the operator.", _INTERNAL
    ),
    "upstream_timeout": Kind(
        504, "Upstream timeout", "The provider did not answer in time. Retry if the call is safe to repeat.",
        "connection_read_timeout",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal as a value.

    Attributes:
        slug: a key of `KINDS`.
        detail: one sentence of ours. Never a value from the request, a library's message or upstream text.
        by: the step that refused, for the receipt: `front`, `canonical`, `match`, `policy`, `egress`, …
        retry_after_s: rendered as `Retry-After` when set.
        extra: additional members of the problem document (RFC 9457, section 3.2); JSON values only.
        in_doubt: a person may decide otherwise, where the mode lets them.
        candidate: what policies on their way into force would say instead; for the receipt alone.
    """

    slug: str
    detail: str
    by: str
    retry_after_s: int | None = None
    extra: Mapping[str, str | int | list[str]] = field(default_factory=dict)
    in_doubt: bool = False
    candidate: str | None = None

    @property
    def kind(self) -> Kind:
        """The row of the table that this refusal belongs to."""
        return KINDS[self.slug]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status


class Refused(Exception):  # noqa: N818  # it carries a denial, it is not a fault
    """Raised by services to refuse; carries the denial."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.slug)
        self.denial = denial


class BriefcaseError(Exception):
    """A fault that the operator can mend; its text is fit for their eyes and holds no secret."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a file that a person wrote: `file:line: path: message`."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}: {self.message}"


class ConfigError(BriefcaseError):
    """All mistakes found in the files, at once."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal rendered for the wire; the front and the lanes send it as it is."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def render(denial: Denial, *, receipt: str | None) -> Answer:
    """The problem document (RFC 9457) with `Proxy-Status` (RFC 9209) for one denial."""
    kind = denial.kind
    document: dict[str, object] = {
        "type": PROBLEM_BASE + denial.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": denial.detail,
        "advice": kind.advice,
        **denial.extra,
    }
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"proxy-status", f'briefcased; error={kind.proxy_status}; details="{denial.slug}"'.encode()),
    ]
    if receipt is not None:
        document["receipt"] = receipt
        headers.append((b"briefcased-receipt", receipt.encode()))
    if denial.retry_after_s is not None:
        headers.append((b"retry-after", str(denial.retry_after_s).encode()))
    if denial.slug == "proxy_auth_required":
        headers.append((b"proxy-authenticate", b'Basic realm="briefcased", charset="UTF-8"'))
        headers.append((b"proxy-authenticate", b'Bearer realm="briefcased"'))
    body = orjson.dumps(document)
    headers.append((b"content-length", str(len(body)).encode()))
    return Answer(kind.status, tuple(headers), body)
