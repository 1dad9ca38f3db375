"""Pure: how long tokens serve, what answers mean, and what a signature covers."""

from __future__ import annotations

import orjson
import pytest

from proxy.credentials import replies
from proxy.credentials.kind import MintFailedError, Reply
from proxy.credentials.token_kind import credential

NOW = 1_800_000_000


def reply(document: object, status: int = 200, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


GOOD = {"access_token": "tok_0123456789", "token_type": "Bearer"}


@pytest.mark.parametrize(("lifetime_s", "until", "early"), [
    (3600, 3570, 3270), (900, 870, 645), (60, 54, 39), (9, 9, 7), (1, 1, 1),
])  # fmt: skip
def test_a_token_is_not_presented_in_its_last_moments_and_replaced_before(lifetime_s, until, early):
    made = credential("tok_0123456789", NOW, lifetime_s)
    assert (made.expires_at_s - NOW, made.refresh_at_s - NOW) == (until, early)


@pytest.mark.parametrize(("document", "lifetime_s"), [
    ({**GOOD, "expires_in": 3599}, 3599), ({**GOOD, "expires_in": "3599"}, 3599), (GOOD, 300),
    ({**GOOD, "expires_in": 10**11}, 24 * 3600), ({**GOOD, "token_type": "bearer", "issued_token_type": "urn:x"}, 300),
])  # fmt: skip
def test_good_answers(document, lifetime_s):
    assert replies.bearer(reply(document), NOW) == ("tok_0123456789", lifetime_s)


@pytest.mark.parametrize(("got", "slug", "wait_s"), [
    (reply({"error": "invalid_grant"}, 400), "credential_revoked", None),
    (reply({"error": "invalid_client"}, 401), "credential_revoked", None),
    (reply(b"no", 401), "credential_revoked", None),
    (reply({"error": "invalid_scope"}, 400), "credential_unavailable", None),
    (reply({"error": {"code": 403}}, 403), "token_endpoint_error", None),
    (reply(b"no", 503, retry_after="120"), "token_endpoint_error", 120),
    (reply({"error": "slow"}, 429, retry_after="9" * 30), "token_endpoint_error", 3600),
    (reply(GOOD, 302), "token_endpoint_error", None),
    (reply({**GOOD, "error": "invalid_grant"}), "credential_revoked", None),  # 200, and yet a failure
    (reply({**GOOD, "token_type": "DPoP"}), "token_endpoint_error", None),
    (reply({**GOOD, "access_token": "short"}), "token_endpoint_error", None),
    (reply({**GOOD, "access_token": "with blanks in it"}), "token_endpoint_error", None),
    (reply({**GOOD, "expires_in": -1}), "token_endpoint_error", None),
    (reply({**GOOD, "expires_in": True}), "token_endpoint_error", None),
    (reply(b"[" * 100_000), "token_endpoint_error", None),
    (reply(b"\xff\xfe"), "token_endpoint_error", None),
])  # fmt: skip
def test_p5_other_answers(got, slug, wait_s):
    with pytest.raises(MintFailedError) as failed:
        replies.bearer(got, NOW)
    assert (failed.value.denial.slug, failed.value.retry_after_s) == (slug, wait_s)


@pytest.mark.parametrize(
    "value", ["", "2027-01-15T08:00:00", "2001-01-01T00:00:00Z", "9" * 70, "x", None, 5, "2027-01-15T08:00:00+99:00"]
)
def test_p5_an_expiry_that_is_none(value):
    with pytest.raises(MintFailedError):
        replies.until_s({"expireTime": value}, "expireTime", NOW)


def test_an_expiry():
    assert replies.until_s({"t": "2027-01-15T08:30:00Z"}, "t", NOW) == NOW + 1800
    assert replies.until_s({"t": "2099-01-15T08:30:00Z"}, "t", NOW) == NOW + 24 * 3600


@pytest.mark.parametrize("jwt", ["", "a", "a.b.c", "a.W10.c", "a.eyJ.c"])
def test_p5_what_is_no_jwt(jwt):
    with pytest.raises(MintFailedError):
        replies.claims(jwt)
