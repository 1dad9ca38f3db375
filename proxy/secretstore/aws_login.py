"""The keys that AWS's stores are asked with: from AWS's own variables, a profile file, a web identity, a container.

Sources: AWS SDKs and tools reference guide, "Standardized credential providers"; EKS user guide, "Pod Identity".
"""

from __future__ import annotations

import configparser
import datetime as dt
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson

from proxy.aws import sts
from proxy.aws.signing import Keys
from proxy.secret import Secret
from proxy.secretstore.asking import DeniedError, failed, json_object, metadata, text_below, text_of
from proxy.secretstore.login import Login, Token
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.secretstore.asking import Asker
    from proxy.secretstore.store import Means
    from proxy.store_settings import AwsStoreSettings

ECS: Final = "169.254.170.2"
SESSION_S: Final = 3600
REREAD_S: Final = 60.0
"""Keys in files and variables of the machine are read again after this time: something else may replace them."""
RELATIVE, FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN, TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
WEB_TOKEN_FILE, WEB_ROLE = "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"
KEY_ID, KEY, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
IN_THE_OPEN: Final = frozenset({KEY_ID, KEY, SESSION, TOKEN})
"""Variables that hold what they give; mode `ga` takes nothing secret from the environment."""
type Obtain = Callable[[AwsStoreSettings, Asker, Means], Awaitable[Token]]


def aws_login(settings: AwsStoreSettings, asker: Asker, means: Means) -> Login:
    """The login that the settings describe; its tokens are `keys_in` of what it gives."""
    ways: dict[str, Obtain] = {
        "environment": _of_the_environment,
        "keys": _of_the_settings,
        "profile": _of_a_file,
        "web_identity": _of_a_role,
        "container": _of_the_container,
    }
    return Login(partial(ways[settings.auth.method], settings, asker, means), clock=means.clock)


def keys_in(token: Secret) -> Keys:
    """The keys that a token of `aws_login` holds."""
    key_id, key, session = orjson.loads(text_of(token, "aws"))
    return Keys(key_id, key, session)


def region_of(settings: AwsStoreSettings, means: Means, scheme: str) -> str:
    """The settings' region, else the one of AWS's own variables. Raises `SecretUnavailableError`."""
    environment = means.environment
    region = settings.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not region:
        raise SecretUnavailableError(scheme, f"secret_stores.{scheme}.region is not set, nor is AWS_REGION")
    return region


def _token(keys: Keys, lives_s: float | None) -> Token:
    return Token(
        Secret("aws keys", orjson.dumps([keys.access_key_id, keys.secret_access_key, keys.session_token])), lives_s
    )


async def _of_the_environment(settings: AwsStoreSettings, asker: Asker, means: Means) -> Token:
    """AWS's own variables, in the order of its SDKs: keys, web identity, container."""
    environment = means.environment
    if KEY_ID in environment and KEY in environment:
        keys = Keys(environment[KEY_ID], environment[KEY], environment.get(SESSION))
        return _token(keys, None)
    if WEB_TOKEN_FILE in environment and WEB_ROLE in environment:
        ref = f"file:{environment[WEB_TOKEN_FILE]}"
        return await _assumed(settings, asker, means, role_arn=environment[WEB_ROLE], token_ref=ref)
    if RELATIVE in environment or FULL in environment:
        return await _of_the_container(settings, asker, means)
    raise SecretUnavailableError(asker.scheme, f"there is no {KEY_ID}, {WEB_TOKEN_FILE} or {RELATIVE}")


async def _of_the_settings(settings: AwsStoreSettings, asker: Asker, means: Means) -> Token:
    async def read(ref: str | None) -> str:
        return text_of(await means.read(ref or ""), asker.scheme)

    auth = settings.auth
    session = await read(auth.session_token) if auth.session_token is not None else None
    return _token(Keys(await read(auth.access_key_id), await read(auth.secret_access_key), session), REREAD_S)


async def _of_a_file(settings: AwsStoreSettings, asker: Asker, means: Means) -> Token:
    """A section of `~/.aws/credentials`."""
    environment = means.environment
    path = str(settings.auth.file or environment.get("AWS_SHARED_CREDENTIALS_FILE") or "")
    path = path or f"{environment.get('HOME', '')}/.aws/credentials"
    text = text_of(await means.read(f"file:{path}"), asker.scheme)
    parsed = configparser.RawConfigParser(strict=False)
    try:
        parsed.read_string(text)
        section = parsed[settings.auth.profile]
        keys = Keys(section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token"))
    except (configparser.Error, KeyError):
        raise SecretUnavailableError(asker.scheme, "the credentials file has no such profile with keys") from None
    return _token(keys, REREAD_S)


async def _of_a_role(settings: AwsStoreSettings, asker: Asker, means: Means) -> Token:
    auth = settings.auth
    return await _assumed(settings, asker, means, role_arn=auth.role_arn or "", token_ref=auth.token or "")


async def _assumed(settings: AwsStoreSettings, asker: Asker, means: Means, *, role_arn: str, token_ref: str) -> Token:
    """A session of a role, for a token of an identity provider."""
    token = text_of(await means.read(token_ref), asker.scheme)
    headers, body = sts.assume_role_with_web_identity(sts.Role(role_arn, "briefcased", SESSION_S), token.strip())
    region = region_of(settings, means, asker.scheme)
    at = replace(asker, address=settings.sts_address or f"https://sts.{region}.amazonaws.com")
    answer = await at.answer("POST", "/", headers={**headers, "accept": "text/xml"}, body=body)
    try:
        session = sts.session_in(answer.status, answer.body)
    except sts.NotAnAnswerError:
        raise SecretUnavailableError(asker.scheme, "STS answered without a session", passing=True) from None
    if isinstance(session, str):
        if session in sts.REVOKED | sts.FORBIDDEN:
            raise DeniedError(asker.scheme, "STS gives no session for this token and role")
        raise failed(asker.scheme, answer)
    return _token(session.keys, max(session.expires_at_s - means.clock.wall_ms() / 1000, 1.0))


async def _of_the_container(_settings: AwsStoreSettings, asker: Asker, means: Means) -> Token:
    environment = means.environment
    place, target = _container(environment, asker.scheme)
    headers = {}
    if TOKEN_FILE in environment:
        headers["authorization"] = text_of(await means.read(f"file:{environment[TOKEN_FILE]}"), asker.scheme).strip()
    elif TOKEN in environment:
        headers["authorization"] = environment[TOKEN].strip()
    answer = json_object(asker.scheme, (await metadata(asker, place, target, headers)).body)
    names = ("AccessKeyId", "SecretAccessKey", "Token")
    key_id, key, session = (text_below(asker.scheme, answer, name) for name in names)
    try:
        ends = dt.datetime.fromisoformat(text_below(asker.scheme, answer, "Expiration"))
    except ValueError:
        raise SecretUnavailableError(asker.scheme, "the container's keys have no usable end", passing=True) from None
    return _token(Keys(key_id, key, session), max(ends.timestamp() - means.clock.wall_ms() / 1000, 1.0))


def _container(environment: Mapping[str, str], scheme: str) -> tuple[str, str]:
    """Where the container's keys are: an address and a target. Only the machine itself is asked."""
    if RELATIVE in environment:
        return ECS, environment[RELATIVE]
    full = environment.get(FULL, "")
    if not full.startswith("http://"):
        raise SecretUnavailableError(scheme, f"{FULL} is not a plain HTTP URL at an address of the machine")
    place, _, path = full.removeprefix("http://").partition("/")
    return place, f"/{path}"
