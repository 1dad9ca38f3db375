"""Signatures of whole requests: SigV4 and SigV4A, in headers or in the query. Made by the AWS Common Runtime."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import BriefcaseError, Denial, Refused

type Fields = tuple[tuple[str, str], ...]

MISSING: Final = "signing for AWS needs the extra aws: pip install 'credential-briefcase[aws]'"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
EMPTY: Final = hashlib.sha256(b"").hexdigest()
S3_EXPRESS: Final = "s3express"
S3_FAMILY: Final = frozenset({"s3", S3_EXPRESS, "s3-object-lambda", "s3-outposts"})
"""Services that sign the path as it is, neither encoded twice nor normalised, and check a declared payload hash."""
SIGNED: Final = frozenset({"host", "content-type", "content-md5"})
"""Signed besides every `x-amz-` header."""


class CannotSignError(BriefcaseError):
    """There is no signature. The text is ours."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs: an access key, with the session token of temporary ones.

    Attributes:
        express: they are of a session of S3 Express, whose token has a header of its own.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    express: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for.

    Attributes:
        service: the signing name: `bedrock` for `bedrock-runtime.us-east-1.amazonaws.com`.
        region: one region; with `asymmetric` a region set, such as `us-east-1,us-west-1` or `*`.
        asymmetric: SigV4A.
    """

    service: str
    region: str
    asymmetric: bool = False


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request as it leaves but for its signature.

    Attributes:
        host: with its port, where it is not the usual one.
        target: path and query, fully encoded.
        headers: lower-case names; values are the latin-1 text of their bytes.
    """

    method: str
    host: str
    target: str
    headers: Fields = field(default=(), repr=False)


def lacking() -> str | None:
    """What this installation lacks for signing, or None."""
    return None if importlib.util.find_spec("awscrt") is not None else MISSING


def stamp(at_s: float) -> str:
    """`20150830T123600Z`."""
    return dt.datetime.fromtimestamp(int(at_s), dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def sign_headers(request: Unsigned, keys: Keys, scope: Scope, *, payload: str, at_s: float) -> Fields:
    """`request.headers` with the signature: Authorization, X-Amz-Date, and what else goes with it.

    Args:
        request: without any signature.
        keys: whose.
        scope: for what.
        payload: hexadecimal SHA-256 of the body, or one of the words that stand for it.
        at_s: wall clock, seconds since the epoch.

    Raises:
        CannotSignError: the signing library is missing, or refuses the request.
        Refused: a header that is signed is not UTF-8.
    """
    declared = scope.service in S3_FAMILY or len(payload) != len(EMPTY)
    return _signed(request, keys, scope, payload=payload, at_s=at_s, declared=declared)[1]


def sign_query(request: Unsigned, keys: Keys, scope: Scope, *, payload: str, at_s: float, expires_s: int) -> str:
    """`request.target` with the signature in its query. Arguments and errors as in `sign_headers`."""
    return _signed(request, keys, scope, payload=payload, at_s=at_s, expires_s=expires_s)[0]


def _signed(
    request: Unsigned,
    keys: Keys,
    scope: Scope,
    *,
    payload: str,
    at_s: float,
    declared: bool = False,
    expires_s: int | None = None,
) -> tuple[str, Fields]:
    """Target and headers (without `host`), signed.

    The library is shown what it is to sign, and signs all of it.
    """
    try:
        from awscrt import auth, http  # noqa: PLC0415  # an optional extra
    except ImportError:
        raise CannotSignError(MISSING) from None
    shown = [(name, _as_written(value)) for name, value in request.headers if _is_signed(name)]
    headers = http.HttpHeaders([("host", request.host), *shown])
    wanted = http.HttpRequest(request.method, request.target, headers)
    plain = scope.service in S3_FAMILY
    kind, body_header = auth.AwsSignatureType, auth.AwsSignedBodyHeaderType
    algorithm = auth.AwsSigningAlgorithm
    symmetric = algorithm.V4_S3EXPRESS if keys.express else algorithm.V4
    config = auth.AwsSigningConfig(
        algorithm=algorithm.V4_ASYMMETRIC if scope.asymmetric else symmetric,
        signature_type=kind.HTTP_REQUEST_HEADERS if expires_s is None else kind.HTTP_REQUEST_QUERY_PARAMS,
        credentials_provider=auth.AwsCredentialsProvider.new_static(
            keys.access_key_id, keys.secret_access_key, keys.session_token
        ),
        region=scope.region,
        service=scope.service,
        date=dt.datetime.fromtimestamp(int(at_s), dt.UTC),
        use_double_uri_encode=not plain,
        should_normalize_uri_path=not plain,
        signed_body_value=payload,
        signed_body_header_type=body_header.X_AMZ_CONTENT_SHA_256 if declared else body_header.NONE,
        expiration_in_seconds=expires_s,
    )
    try:
        # With keys at hand the library signs at once, in this thread.
        done = auth.aws_sign_request(wanted, config).result(timeout=5)
    except Exception as error:  # noqa: BLE001  # its errors have no common class
        raise CannotSignError(f"the request cannot be signed ({type(error).__name__})") from None
    names = {"host", *(name for name, _ in shown)}
    added = tuple((name.lower(), value) for name, value in done.headers if name.lower() not in names)
    return done.path, (*request.headers, *added)


def _is_signed(name: str) -> bool:
    return name in SIGNED or name.startswith("x-amz-")


def _as_written(value: str) -> str:
    """A header's value such that its UTF-8 form is the bytes that leave; ours are latin-1 text.

    Raises:
        Refused: they are not UTF-8.
    """
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        detail = "A header that has to be signed is not UTF-8."
        raise Refused(Denial("invalid_request", detail, by="credentials")) from None
