"""Why an upstream connection failed, as a refusal: the text that mitmproxy carries, read once, here."""

from __future__ import annotations

from typing import Final

from proxy.errors import KINDS, Denial

PREFIX: Final = "briefcased:"
"""Errors of our own dialler travel through mitmproxy as `briefcased:<slug>`."""

_DETAIL: Final = {
    "destination_forbidden_address": "The name resolves to an address that must not be reached.",
    "upstream_unreachable": "No connection to the provider could be made.",
    "upstream_timeout": "The provider did not answer in time.",
    "upstream_tls_untrusted": "The provider's certificate could not be verified.",
    "upstream_proxy_unavailable": "The operator's upstream proxy could not be used.",
    "upstream_proxy_auth": "The operator's upstream proxy does not accept the sidecar's credentials.",
    "upstream_proxy_refused": "The operator's upstream proxy does not allow this destination.",
    "overloaded": "Too many connections to this provider are open.",
}
_TRANSPORT: Final = ("server closed connection", "connection closed", "closed by", "peer closed", "stream reset",
                     "connection cancelled", "http/2 connection closed")  # fmt: skip
_MALFORMED: Final = ("cannot parse http response", "http/1 protocol error", "http/2 protocol error",
                     "unexpected server response")  # fmt: skip


def denial_for(error: str) -> Denial:
    """The refusal for an upstream error. Unknown text counts as an untrusted peer: it comes from the TLS handshake."""
    if error.startswith(PREFIX):
        slug = error.removeprefix(PREFIX)
        slug = slug if slug in KINDS else "upstream_unreachable"
    elif error == "timeout":
        slug = "upstream_timeout"
    elif error.lower().startswith(_TRANSPORT):
        slug = "upstream_unreachable"
    elif error.lower().startswith(_MALFORMED):
        return Denial("response_withheld", "The provider's answer is not valid HTTP.", by="engine")
    else:
        slug = "upstream_tls_untrusted"
    return Denial(slug, _DETAIL.get(slug, "The provider could not be used."), by="egress")
