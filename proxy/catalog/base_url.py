"""Base-URL mode: `/<profile or host>/path` below an address of ours stands for a provider's URL. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.canonical import parse_authority
from proxy.catalog.matcher import WILDCARD
from proxy.errors import Denial

if TYPE_CHECKING:
    from proxy.catalog.matcher import Catalog
    from proxy.model import Authority

DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Based:
    """A target, resolved.

    Attributes:
        base: the first segment, as the agent wrote it.
        scheme: of the provider's URL.
        target: path and query below `base`, as the agent wrote them.
    """

    base: str
    scheme: str
    authority: Authority
    target: bytes


def resolve(catalog: Catalog, target: bytes) -> Based | Denial:
    """What `target` (`/openai/v1/models?x=1`, `/api.github.com/user`) stands for.

    The first segment is the name of an enabled profile, whose first host without a wildcard is meant, or a host of
    one, with its port where that is not 443.
    """
    if not target.startswith(b"/"):
        return Denial("malformed_request", "This listener takes a path, not a URL.", by="canonical")
    end = min((at for at in (target.find(b"/", 1), target.find(b"?")) if at > 0), default=len(target))
    base, rest = target[1:end], target[end:]
    found = _place(catalog, base)
    if found is None:
        return Denial(
            "destination_not_allowed", "The first path segment names no enabled profile and no host of one.", by="match"
        )
    return Based(base.decode("ascii"), *found, rest if rest.startswith(b"/") else b"/" + rest)


def _place(catalog: Catalog, base: bytes) -> tuple[str, Authority] | None:
    """Scheme and authority."""
    profile = catalog.profiles.get(base.decode("ascii", "replace"))
    if profile is not None:
        rule = next((rule for rule in profile.hosts if not rule.host.startswith(WILDCARD)), None)
        if rule is None:
            return None
        host = f"[{rule.host}]" if ":" in rule.host else rule.host
        authority = parse_authority(f"{host}:{rule.port}".encode(), None)
        return None if authority is None else (rule.scheme, authority)
    authority = parse_authority(base, 443)
    entries = None if authority is None else catalog.host(authority.host, authority.port)
    return None if authority is None or not entries else (entries[0].rule.scheme, authority)


def relocated(catalog: Catalog, location: str, *, base: str, authority: Authority) -> str:
    """A `Location` of the provider, so that a client that follows it stays on our listener.

    A path, and a URL of `authority` or of another managed host, become a path of ours; any other URL stays as it is.
    `base` is the segment that stood for `authority` in the request.

    Source: RFC 9110, section 10.2.2 (a relative reference is allowed).
    """
    if location.startswith("/") and not location.startswith("//"):
        return f"/{base}{location}"
    scheme, mark, rest = location.partition("://")
    default = DEFAULT_PORTS.get(scheme.lower())
    if not mark or default is None:
        return location
    end = min((at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest))
    named = parse_authority(rest[:end].encode("latin-1"), default)
    tail = rest[end:] if rest[end:].startswith("/") else "/" + rest[end:]
    if named is None:
        return location
    if named == authority:
        return f"/{base}{tail}"
    entries = catalog.host(named.host, named.port)
    if not entries or entries[0].rule.scheme != scheme.lower():
        return location
    return f"/{named.host if named.port == DEFAULT_PORTS['https'] else named}{tail}"
