"""P6: a tunnel that is passed through unread, and an agent whose token is taken back meanwhile."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tests.rig import Provider, running_rig
from tests.rig.raw import end_of, read_answer
from tests.rig.sidecar import HOSTS

if TYPE_CHECKING:
    from proxy.identity.registry import Authenticator
    from proxy.model import Agent

HOST = "unmanaged.example.test"
ASKED = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


class Revocable:
    """The agents' registry, until all are revoked."""

    def __init__(self, behind: Authenticator) -> None:
        self.behind = behind
        self.revoked = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.behind, name)

    def current(self, agent: Agent) -> Agent | None:
        return None if self.revoked else self.behind.current(agent)


async def test_p6_an_unread_tunnel_ends_with_its_agents_token(tmp_path):
    provider, registries = Provider(tmp_path, HOSTS), []

    def before(behind, _settings):
        registries.append(Revocable(behind))
        return registries[0]

    await provider.start()
    settings = {"passthrough_hosts": [f"{HOST}:{provider.port}"]}
    async with running_rig(tmp_path, provider=provider, before=before, settings=settings) as rig:
        reader, writer = await rig.connect(f"{HOST}:{provider.port}")
        await writer.start_tls(ssl.create_default_context(cafile=str(provider.root)), server_hostname=HOST)
        writer.write(ASKED)
        assert (await read_answer(reader)).status == 200
        registries[0].revoked = True
        writer.write(ASKED)
        assert await end_of(reader) in ("closed", "reset")
        assert len(provider.requests) == 1
        (call,) = await rig.settled(1)
        assert (call.outcome["outcome"], call.outcome["error"]) == ("response_aborted", "revoked")
    await provider.stop()
