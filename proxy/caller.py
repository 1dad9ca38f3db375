"""Whose request a head is. The connection says it, or, where it cannot, each head on its own. No I/O of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.canonical import is_local, parse_authority
from proxy.exchange import Capture
from proxy.model import BY_NAME, Agent

if TYPE_CHECKING:
    from proxy.credentials.standin import StandIns
    from proxy.exchange import Tunnel
    from proxy.identity.registry import Authenticator
    from proxy.model import RawHead

BY_STAND_IN: Final = f"{BY_NAME}stand-in"


def identify(authenticator: Authenticator, stand_ins: StandIns, tunnel: Tunnel, raw: RawHead) -> Agent | None:
    """The agent with the grants of now; None when nobody can be believed.

    A proxy's plain connection stays one agent's, and every head on it carries the token again. In base-URL mode each
    head is judged on its own: a token goes before a stand-in.
    """
    base_url = tunnel.capture is Capture.BASE_URL
    if tunnel.bound or tunnel.authority is not None:
        lured = tunnel.bound and base_url and _from_a_browser(raw)
        return None if lured else authenticator.current(tunnel.agent)
    given = [value for name, value in raw.headers if name.lower() == b"proxy-authorization"]
    if base_url and not given:
        name = stand_ins.identity(raw.headers, raw.target)
        return None if name is None else authenticator.named(name, BY_STAND_IN)
    if len(given) != 1:
        return None
    found = authenticator.authenticate(given[0].decode("latin-1").strip(" \t"), "plain")
    if not isinstance(found, Agent):
        return None
    return found if base_url or found.token_id == tunnel.agent.token_id else None


def _from_a_browser(raw: RawHead) -> bool:
    """Whether a page may have made a browser on this machine send this: then the listener is no proof of the agent.

    Browsers name the page's origin on what crosses origins, and Host is what the page's URL said (DNS rebinding).
    """
    fields = {name.lower(): value for name, value in raw.headers}
    host = parse_authority(fields.get(b"host", b"").strip(b" \t"), 80)
    return b"origin" in fields or b"sec-fetch-site" in fields or host is None or not is_local(host.host)
