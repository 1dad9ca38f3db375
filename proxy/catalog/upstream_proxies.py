"""What the schema cannot say about `upstream_proxy` entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.egress.upstream import no_proxy_rule, parse_url
from proxy.secretstore import bad_ref
from proxy.settings import UpstreamProxyEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.documents import Place
    from proxy.settings import Settings


def entries(settings: Settings) -> Iterator[tuple[Place, UpstreamProxyEntry]]:
    """Every upstream proxy, with its place in the file."""
    if settings.egress.upstream_proxy is not None:
        yield ("egress", "upstream_proxy"), settings.egress.upstream_proxy
    for name, provider in settings.providers.items():
        if isinstance(provider.upstream_proxy, UpstreamProxyEntry):
            yield ("providers", name, "upstream_proxy"), provider.upstream_proxy


def upstream_proxy_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Everything wrong with every upstream proxy. No text repeats a URL or a ref: a secret may stand there."""
    for place, entry in entries(settings):
        yield from (((*place, *below), message) for below, message in _of(entry))


def _of(entry: UpstreamProxyEntry) -> Iterator[Mistake]:
    try:
        scheme, _ = parse_url(entry.url)
    except ValueError as error:
        yield ("url",), str(error)
    else:
        if entry.ca_bundle is not None and scheme != "https":
            yield ("ca_bundle",), "only an https:// proxy shows a certificate"
    if entry.ca_bundle is not None and not entry.ca_bundle.is_file():
        yield ("ca_bundle",), "there is no such file"
    if entry.password is not None and entry.username is None:
        yield ("password",), "a password needs a username"
    for name, ref in (("username", entry.username), ("password", entry.password)):
        if ref is not None and (problem := bad_ref(ref)) is not None:
            yield (name,), problem
    for index, text in enumerate(entry.no_proxy):
        try:
            no_proxy_rule(text)
        except ValueError as error:
            yield ("no_proxy", index), str(error)


def anchored[E: UpstreamProxyEntry | str | None](entry: E, base: Path) -> E:
    """`entry` with its path counted from `base`."""
    if isinstance(entry, UpstreamProxyEntry) and entry.ca_bundle is not None:
        return entry.model_copy(update={"ca_bundle": base / entry.ca_bundle})
    return entry
