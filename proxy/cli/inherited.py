"""The upstream proxy that the operator's own environment names, for `briefcased run` without a configuration. Pure.

The usual variables: `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`, and `no_proxy`, `NO_PROXY`; the first that
is not empty counts, as curl reads them. Name and password of the URL become secrets under names of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from proxy.catalog.configuration import Configuration
from proxy.egress.upstream import no_proxy_rule, parse_url
from proxy.errors import BriefcaseError
from proxy.settings import UpstreamProxyEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
NO_PROXY: Final = ("no_proxy", "NO_PROXY")
USERNAME: Final = "BRIEFCASED_UPSTREAM_PROXY_USERNAME"
PASSWORD: Final = "BRIEFCASED_UPSTREAM_PROXY_PASSWORD"  # noqa: S105  # a name
USERINFO: Final = "BRIEFCASED_UPSTREAM_PROXY_USERINFO"


@dataclass(frozen=True, slots=True)
class Inherited:
    """An upstream proxy, and its credentials apart from it.

    Attributes:
        entry: as it would stand in a file; None where the environment names no proxy.
        secrets: what its refs name, to be added to the environment that the `env:` store reads. `USERINFO` is there so
            that the whole is also taken out of other variables.
    """

    entry: UpstreamProxyEntry | None
    secrets: Mapping[str, str]


def inherited(environment: Mapping[str, str]) -> Inherited:
    """What the operator's variables say.

    Raises:
        BriefcaseError: a proxy that cannot be used. Going around it could be what the operator must not do.
    """
    name, url = _first(environment, PROXY)
    if not url:
        return Inherited(None, {})
    scheme, mark, rest = url.partition("://")
    if not mark:  # curl takes a bare host:port for an HTTP proxy
        scheme, rest = "http", url
    userinfo, at, place = rest.rpartition("@")
    try:
        parse_url(f"{scheme}://{place}")
    except ValueError as error:
        raise BriefcaseError(f"{name}: {error}") from None
    username, _, password = userinfo.partition(":")
    found = {USERNAME: unquote(username), PASSWORD: unquote(password), USERINFO: userinfo} if at else {}
    secrets = {name: value for name, value in found.items() if value}
    entry = UpstreamProxyEntry(
        url=f"{scheme}://{place}",
        username=f"env:{USERNAME}" if USERNAME in secrets else None,
        password=f"env:{PASSWORD}" if {USERNAME, PASSWORD} <= secrets.keys() else None,
        no_proxy=tuple(_usable(_first(environment, NO_PROXY)[1])),
    )
    return Inherited(entry, secrets)


def through(configuration: Configuration, entry: UpstreamProxyEntry | None) -> Configuration:
    """`configuration`, with `entry` as the upstream proxy of all providers."""
    settings = configuration.settings
    egress = settings.egress.model_copy(update={"upstream_proxy": entry})
    return Configuration(settings.model_copy(update={"egress": egress}), configuration.profiles)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    return next(((name, environment[name].strip()) for name in names if environment.get(name, "").strip()), ("", ""))


def _usable(text: str) -> list[str]:
    """The entries that we understand; others mean something to other programs only."""
    usable = []
    for entry in filter(None, (part.strip() for part in text.replace(",", " ").split())):
        try:
            no_proxy_rule(entry)
        except ValueError:
            continue
        usable.append(entry)
    return usable
