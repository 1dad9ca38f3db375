"""Whose request a head is. The connection says it, or, where it cannot, each head on its own. No I/O of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import is_local, parse_authority
from proxy.errors import Denial
from proxy.exchange import Capture
from proxy.identity.svid import SvidProof
from proxy.model import BY_NAME, Agent

if TYPE_CHECKING:
    from proxy.credentials.standin import StandIns
    from proxy.exchange import Tunnel
    from proxy.identity.registry import Authenticator
    from proxy.model import RawHead

BY_STAND_IN: Final = f"{BY_NAME}stand-in"


def identify(authenticator: Authenticator, stand_ins: StandIns, tunnel: Tunnel, raw: RawHead) -> Agent | None:
    """The agent with the grants of now; None when nobody can be believed.

    A proxy's plain connection stays one agent's, and every head on it carries the token again; where an SVID says
    whose it is, a head may go without. In base-URL mode each
    head is judged on its own: a token goes before a stand-in.
    """
    base_url = tunnel.capture is Capture.BASE_URL
    given = [value for name, value in raw.headers if name.lower() == b"proxy-authorization"]
    fixed = tunnel.bound and not (given and isinstance(tunnel.agent.proof, SvidProof))
    if fixed or tunnel.authority is not None:
        lured = tunnel.bound and base_url and _from_a_browser(raw)
        return None if lured else authenticator.current(tunnel.agent)
    if base_url and not given:
        name = stand_ins.identity(raw.headers, raw.target)
        return None if name is None else authenticator.named(name, BY_STAND_IN)
    if len(given) != 1:
        return None
    found = authenticator.authenticate(given[0].decode("latin-1").strip(" \t"), tunnel.source, tunnel.lineage)
    if not isinstance(found, Agent):
        return None
    if not base_url and found.token_id != tunnel.agent.token_id:
        return None
    return authenticator.current(replace(found, proof=tunnel.agent.proof))


def not_now() -> Denial:
    """What whoever cannot be believed is told."""
    return Denial("proxy_auth_required", "No token that is valid now came with this request.", by="identify")


def _from_a_browser(raw: RawHead) -> bool:
    """Whether a page may have made a browser on this machine send this: then the listener is no proof of the agent.

    Browsers name the page's origin on what crosses origins, and Host is what the page's URL said (DNS rebinding). Of
    a page's image Safari tells loopback neither, but where the page is.
    """
    fields = {name.lower(): value.strip(b" \t") for name, value in raw.headers}
    if b"origin" in fields or b"sec-fetch-site" in fields or not _is_here(fields.get(b"host", b"")):
        return True
    page = fields.get(b"referer")  # Go sends its own address with a redirect that it follows
    return page is not None and not _is_here(page.partition(b"://")[2].partition(b"/")[0])


def _is_here(authority: bytes) -> bool:
    found = parse_authority(authority, 80)
    return found is not None and is_local(found.host)
