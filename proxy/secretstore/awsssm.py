"""`awsssm:NAME[:VERSION]`: parameters of AWS Systems Manager, decrypted. See docs/stores/awsssm.md.

Source: AWS Systems Manager API reference, GetParameter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.asking import text_below
from proxy.secretstore.aws_asking import AwsApi, region_in
from proxy.secretstore.store import Fetched

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(
    r"(?:arn:aws[a-z-]*:ssm:[a-z0-9-]{1,32}:[0-9]{12}:parameter)?/?[A-Za-z0-9_.-][A-Za-z0-9_./-]{0,1010}"
    r"(?::[A-Za-z0-9_.-]{1,100})?"
)


class ParameterStore:
    """Reads one parameter, the newest version where none is named."""

    def __init__(self, api: AwsApi) -> None:
        self._api: Final = api

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.awsssm
        return None if own is None else cls(AwsApi.made("ssm", "AmazonSSM", own, settings, means, scheme="awsssm"))

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A name or an ARN, perhaps a version or label."""
        return None if _PLACE.fullmatch(place) else "awsssm: takes NAME[:VERSION], as in awsssm:/agents/github"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        asked = {"Name": place, "WithDecryption": True}
        answer = await self._api.call("GetParameter", asked, region=region_in(place))
        return Fetched(Secret("awsssm", text_below("awsssm", answer, "Parameter", "Value")))

    async def close(self) -> None:
        """See `AskedStore`."""
