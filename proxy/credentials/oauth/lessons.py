"""What a provider's answer teaches about an access token: a nonce, its end, or that it is not enough. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from proxy.credentials.kind import Lesson
from proxy.credentials.oauth.challenges import challenged
from proxy.credentials.oauth.dpop import NONCE_HEADER, NONCE_WANTED, PROOF_HEADER, nonce_of
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from proxy.model import RequestHead, ResponseHead

NONCE: Final = "dpop_nonce"
"""Name of the fact: the last nonce of one origin."""
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
MORE_SCOPE: Final = "the provider asks for more scope than the account has; connect it again with that scope"
STEP_UP: Final = (
    "the provider asks for a stronger or newer login (RFC 9470); "
    "connect the account again, with --acr-values or --max-age"
)


def lesson(sent: RequestHead, response: ResponseHead, *, attempt: int, proves: bool) -> Lesson:
    """What `response` to `sent` teaches.

    A 401 about the token is answered with a new one, one about a nonce with a new proof; how often is limited here and
    by the broker. Whoever asks for another scope or login gets no blind retry: the agent sees the answer, and the
    operator a line in the log.
    """
    nonce = nonce_of(_value(response, NONCE_HEADER)) if proves else None
    facts = {NONCE: nonce} if nonce is not None else {}
    challenge = _value(response, "www-authenticate")
    error = challenged(challenge, "error", "bearer", "dpop")
    if response.status == FORBIDDEN and error == "insufficient_scope":
        return Lesson(facts, notice=MORE_SCOPE)
    if response.status != UNAUTHORIZED:
        return Lesson(facts)
    if error == "insufficient_user_authentication":
        return Lesson(facts, notice=STEP_UP)
    if error == "insufficient_scope":
        return Lesson(facts, notice=MORE_SCOPE)
    if proves and error == NONCE_WANTED:
        return Lesson(facts, again="prove" if _helps(nonce, sent, attempt) else "no")
    return Lesson(facts, again="mint" if error in (None, "invalid_token") else "no")


def _helps(nonce: str | None, sent: RequestHead, attempt: int) -> bool:
    """Whether a proof with `nonce` is worth one more attempt: the last proof had none, or it was the first attempt."""
    used = nonce_used(sent.header(PROOF_HEADER) or "")
    return nonce is not None and nonce != used and (attempt == 0 or used is None)


def nonce_used(proof: str) -> str | None:
    """The nonce in a proof of ours."""
    try:
        claims = orjson.loads(from_base64url(proof.split(".")[1]))
    except (IndexError, ValueError):
        return None
    nonce = claims.get("nonce") if isinstance(claims, dict) else None
    return nonce if isinstance(nonce, str) else None


def _value(response: ResponseHead, name: str) -> str | None:
    """All values of the header, joined (RFC 9110, section 5.3); None where there is none."""
    values = [value for key, value in response.headers if key == name]
    return ", ".join(values) if values else None
