"""`awssm:NAME[#KEY]`: AWS Secrets Manager. See docs/stores/awssm.md.

Source: AWS Secrets Manager API reference, GetSecretValue.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.asking import json_object, text_below
from proxy.secretstore.aws_asking import AwsApi, region_in
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(
    r"(?:arn:aws[a-z-]*:secretsmanager:[a-z0-9-]{1,32}:[0-9]{12}:secret:)?[A-Za-z0-9/_+=.@-]{1,512}(?:#[^#\s]{1,128})?"
)


class SecretsManagerStore:
    """Reads the current version of one secret; with a key, one text of the JSON object that it holds."""

    def __init__(self, api: AwsApi) -> None:
        self._api: Final = api

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.awssm
        if own is None:
            return None
        return cls(AwsApi.made("secretsmanager", "secretsmanager", own, settings, means, scheme="awssm"))

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A name or an ARN, perhaps a key."""
        return (
            None if _PLACE.fullmatch(place) else "awssm: takes NAME[#KEY] or ARN[#KEY], as in awssm:prod/github#token"
        )

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        name, _, key = place.partition("#")
        answer = await self._api.call("GetSecretValue", {"SecretId": name}, region=region_in(name))
        binary = answer.get("SecretBinary")
        if isinstance(binary, str) and not key:
            try:
                return Fetched(Secret("awssm", base64.b64decode(binary, validate=True)))
            except (binascii.Error, ValueError):
                raise SecretUnavailableError("awssm", "the answer's binary value is not base64") from None
        text = text_below("awssm", answer, "SecretString")
        if key:
            text = text_below("awssm", json_object("awssm", text.encode()), key)
        return Fetched(Secret("awssm", text))

    async def close(self) -> None:
        """See `AskedStore`."""
