"""The Security Token Service: how a role is asked for, and what its answers say. Pure.

Source: AWS STS API reference, AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

from proxy.aws.signing import Keys, Scope, Unsigned, sign_headers

VERSION: Final = "2011-06-15"
FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
MAX_SESSION_NAME: Final = 64
_NAME_FORBIDS: Final = re.compile(r"[^A-Za-z0-9_=,.@-]+")
_KEY_ID: Final = re.compile(r"<AccessKeyId>\s*([A-Z0-9]{16,128})\s*</AccessKeyId>")
_KEY: Final = re.compile(r"<SecretAccessKey>\s*([A-Za-z0-9/+=]{16,256})\s*</SecretAccessKey>")
_TOKEN: Final = re.compile(r"<SessionToken>\s*([A-Za-z0-9/+=]{16,16384})\s*</SessionToken>")
_ENDS: Final = re.compile(r"<Expiration>\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)\s*</Expiration>")
_CODE: Final = re.compile(r"<Code>\s*([A-Za-z.]{1,64})\s*</Code>")
REVOKED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidIdentityToken", "SignatureDoesNotMatch",
     "UnrecognizedClientException", "InvalidAccessKeyId"}
)  # fmt: skip
FORBIDDEN: Final = frozenset({"AccessDenied", "AccessDeniedException", "IDPRejectedClaim", "RegionDisabledException"})
THROTTLED: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable"})


class NotAnAnswerError(Exception):
    """STS did not answer as its reference says."""


@dataclass(frozen=True, slots=True)
class Role:
    """What is asked for.

    Attributes:
        session: name of the session, as `session_name` makes it.
        policy: a session policy as JSON text: the session may do what both it and the role allow.
        policy_arns: managed policies that limit the session in the same way.
    """

    arn: str
    session: str
    duration_s: int
    external_id: str | None = None
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary keys; `expires_at_s` is seconds since the epoch."""

    keys: Keys = field(repr=False)
    expires_at_s: int


def session_name(wanted: str) -> str:
    """`wanted` with what a session name may not have replaced, and not too long."""
    return _NAME_FORBIDS.sub("-", wanted)[:MAX_SESSION_NAME].ljust(2, "-")


def place(url: str) -> tuple[str, str]:
    """What stands in Host, and the target, for an https URL."""
    parts = urlsplit(url)
    return parts.netloc.removesuffix(":443"), parts.path or "/"


def assume_role(role: Role, keys: Keys, *, url: str, region: str, at_s: float) -> tuple[dict[str, str], bytes]:
    """Headers (without `host`) and body of a POST to `url` that asks for `role`, signed with `keys`.

    Raises:
        CannotSignError: the library is missing.
    """
    body = _body("AssumeRole", role, external=True)
    return signed_post(url, body, FORM, keys, Scope("sts", region), at_s=at_s), body


def assume_role_with_web_identity(role: Role, token: str) -> tuple[dict[str, str], bytes]:
    """The same with a token of an identity provider instead of keys; nothing is signed."""
    return {"content-type": FORM}, _body("AssumeRoleWithWebIdentity", role, WebIdentityToken=token)


def signed_post(
    url: str, body: bytes, content_type: str, keys: Keys, scope: Scope, *, at_s: float, target: str | None = None
) -> dict[str, str]:
    """Headers (without `host`) of a POST with `body`; `target` is the X-Amz-Target of AWS's JSON protocols.

    Raises:
        CannotSignError: the library is missing.
    """
    host, path = place(url)
    fields = (("content-type", content_type), *((("x-amz-target", target),) if target is not None else ()))
    request = Unsigned("POST", host, path, fields)
    return dict(sign_headers(request, keys, scope, payload=hashlib.sha256(body).hexdigest(), at_s=at_s))


def _body(action: str, role: Role, *, external: bool = False, **more: str) -> bytes:
    fields = {
        "Action": action,
        "Version": VERSION,
        "RoleArn": role.arn,
        "RoleSessionName": role.session,
        "DurationSeconds": str(role.duration_s),
        **more,
    }
    if external and role.external_id:
        fields["ExternalId"] = role.external_id
    if role.policy:
        fields["Policy"] = role.policy
    for number, arn in enumerate(role.policy_arns, start=1):
        fields[f"PolicyArns.member.{number}.arn"] = arn
    return urlencode(fields).encode()


def session_in(status: int, body: bytes) -> Session | str:
    """The session in an answer, or the code of the error it is; "" for one without a known form of code.

    Raises:
        NotAnAnswerError: the answer is a success that holds no session, or two.
    """
    text = body.decode("utf-8", "replace")
    if status != HTTPStatus.OK:
        codes = set(_CODE.findall(text))
        return codes.pop() if len(codes) == 1 else ""
    found = [pattern.findall(text) for pattern in (_KEY_ID, _KEY, _TOKEN, _ENDS)]
    if any(len(values) != 1 for values in found):
        raise NotAnAnswerError
    (key_id,), (key,), (token,), (ends,) = found
    try:
        ends_at = dt.datetime.fromisoformat(ends)
    except ValueError:
        raise NotAnAnswerError from None
    return Session(Keys(key_id, key, token), int(ends_at.timestamp()))
