"""Asks an AWS API of the JSON protocol: signed, failures told apart by their code and never quoted."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import orjson

from proxy.aws import sts
from proxy.aws.signing import CannotSignError, Scope
from proxy.model import Mode
from proxy.secretstore.asking import Asker, DeniedError, Json, failed, json_object
from proxy.secretstore.aws_login import IN_THE_OPEN, aws_login, keys_in, region_of
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from proxy.egress.http import Answer
    from proxy.secret import Secret
    from proxy.secretstore.login import Login
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import AwsStoreSettings

JSON: Final = "application/x-amz-json-1.1"
DENIED: Final = sts.REVOKED | sts.FORBIDDEN | {"InvalidSignatureException", "IncompleteSignature", "DecryptionFailure"}
ABSENT: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
BUSY: Final = sts.THROTTLED | {"TooManyRequestsException", "InternalServiceError", "InternalServerError"}
ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z]+:([a-z0-9-]{1,32}):[0-9]{12}:.+")


@dataclass(frozen=True, slots=True)
class AwsApi:
    """One API of one service: `service` is its signing name, `prefix` begins its targets, `host` its names."""

    service: str
    prefix: str
    host: str
    settings: AwsStoreSettings
    asker: Asker
    means: Means
    login: Login

    @classmethod
    def made(
        cls, service: str, prefix: str, own: AwsStoreSettings, settings: Settings, means: Means, *, scheme: str
    ) -> Self:
        """The API as the settings describe it."""
        asker = Asker.made(scheme, own.address or "", own, settings, means)  # a private endpoint has the public name
        if settings.mode is Mode.GA:
            means = replace(means, environment={n: v for n, v in means.environment.items() if n not in IN_THE_OPEN})
        return cls(service, prefix, service, own, asker, means, aws_login(own, asker, means))

    async def call(self, action: str, asked: Json, *, region: str | None = None) -> Json:
        """The answer to `action`. Raises `SecretUnavailableError`."""
        here = region or region_of(self.settings, self.means, self.asker.scheme)
        at = replace(self.asker, address=self.settings.address or f"https://{self.host}.{here}.amazonaws.com")

        async def ask(token: Secret) -> Json:
            body = orjson.dumps(asked)
            try:
                headers = sts.signed_post(
                    f"{at.address.rstrip('/')}/",
                    body,
                    JSON,
                    keys_in(token),
                    Scope(self.service, here),
                    at_s=self.means.clock.wall_ms() / 1000,
                    target=f"{self.prefix}.{action}",
                )
            except CannotSignError as error:
                raise SecretUnavailableError(at.scheme, str(error)) from None
            answer = await at.answer("POST", "/", headers=headers, body=body)
            if answer.status != HTTPStatus.OK:
                raise _failure(at.scheme, answer)
            return json_object(at.scheme, answer.body)

        return await self.login.using(ask)


def region_in(arn: str) -> str | None:
    """The region that an ARN names; None for a plain name."""
    found = ARN.fullmatch(arn)
    return None if found is None else found[1]


def _failure(scheme: str, answer: Answer) -> SecretUnavailableError:
    """What a failure means: AWS says most with status 400 and a code."""
    code = ""
    if answer.status == HTTPStatus.BAD_REQUEST:
        try:
            told = json_object(scheme, answer.body).get("__type")
        except SecretUnavailableError:
            told = None
        code = told.rpartition("#")[2] if isinstance(told, str) else ""
    if code in DENIED:
        return DeniedError(scheme, "not allowed")
    if code in ABSENT:
        return SecretUnavailableError(scheme, "there is no such secret")
    if code in BUSY:
        return SecretUnavailableError(scheme, "asked too often, or not able to answer", passing=True)
    return failed(scheme, answer)
