"""`sops:/path#key.key`: a value in a file that SOPS has encrypted. See docs/stores/sops.md.

Source: SOPS, `--decrypt --extract`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

import orjson

from proxy.secret import Secret
from proxy.secretstore.asking import text_of
from proxy.secretstore.command import output_of
from proxy.secretstore.store import Fetched, stripped

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import SopsSettings

_PLACE: Final = re.compile(r"(/[^#\x00-\x1f\x7f]{1,1024})#([A-Za-z0-9_-]{1,128}(?:\.[A-Za-z0-9_-]{1,128}){0,15})")


class SopsStore:
    """Runs the command for one value; a number in the key counts into a list."""

    def __init__(self, settings: SopsSettings, means: Means, timeout_s: float) -> None:
        self._settings: Final = settings
        self._means: Final = means
        self._timeout_s: Final = timeout_s

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        return cls(settings.secret_stores.sops, means, settings.secret_stores.timeout_s)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """An absolute path and a dotted key."""
        return None if _PLACE.fullmatch(place) else "sops: takes /PATH#KEY.KEY, as in sops:/etc/app.yaml#github.token"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        path, _, key = place.rpartition("#")
        extract = "".join(
            f"[{part}]" if part.isdigit() else f"[{orjson.dumps(part).decode()}]" for part in key.split(".")
        )
        environment = dict(self._means.environment)
        if self._settings.age_key is not None:
            environment["SOPS_AGE_KEY"] = text_of(await self._means.read(self._settings.age_key), "sops")
        command = [self._settings.command, "--decrypt", "--extract", extract, path]
        output = await output_of("sops", command, environment=environment, timeout_s=self._timeout_s)
        return Fetched(Secret("sops", stripped(output)))

    async def close(self) -> None:
        """See `AskedStore`."""
