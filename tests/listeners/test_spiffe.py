"""A proxy over TLS whose clients are who their X.509-SVID says: real clients, a CA of our own, the real sidecar."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
import requests
from cryptography.x509.oid import ExtendedKeyUsageOID
from requests.adapters import HTTPAdapter

from proxy.catalog.configuration import Configuration
from tests.control.tenancy import task_token
from tests.rig import running_rig
from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.rig import Rig
    from tests.rig.svids import Certified

pytestmark = pytest.mark.asyncio(loop_scope="module")
CODER, RIVAL = "spiffe://example.org/agents/coder", "spiffe://other.test/rival"
CUT_S = 5.0
SECOND = dt.timedelta(seconds=1)


@dataclass
class Stage:
    """`port` is the listener's; `roots` vouch for it."""

    rig: Rig
    folder: Path
    domain: TrustDomain
    other: TrustDomain
    port: int

    @property
    def target(self) -> str:
        return f"api.example.test:{self.rig.provider.port}"

    def context(self, svid: Certified | None) -> ssl.SSLContext:
        if svid is None:
            return ssl.create_default_context(cadata=self.domain.pem.decode())
        return svid.client(self.folder / "client.pem", self.domain.pem)

    async def open(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def asked(self, svid: Certified | None, head: str = "", **changed: Any) -> int | None:
        """The status that a CONNECT gets; None where the connection ends without an answer."""
        context = self.context(svid)
        for name, value in changed.items():
            setattr(context, name, value)
        try:
            reader, writer = await self.open(context)
            writer.write(f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n{head}\r\n".encode())
            status = (await read_answer(reader, head_only=True)).status
        except (OSError, asyncio.IncompleteReadError):
            return None
        writer.transport.abort()
        return status

    async def tunnel(self, svid: Certified, head: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """TLS to the provider, within TLS to the listener."""
        reader, writer = await self.open(self.context(svid))
        writer.write(f"CONNECT {self.target} HTTP/1.1\r\nHost: {self.target}\r\n{head}\r\n".encode())
        assert (await read_answer(reader, head_only=True)).status == 200
        await writer.start_tls(self.rig.trust(), server_hostname="api.example.test")
        return reader, writer

    async def get(self, opened: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int | None:
        reader, writer = opened
        try:
            writer.write(f"GET /x HTTP/1.1\r\nHost: {self.target}\r\n\r\n".encode())
            return (await read_answer(reader)).status
        except (OSError, asyncio.IncompleteReadError):
            return None

    async def ended(self, reader: asyncio.StreamReader) -> None:
        """Wait until a connection on which nothing moves is ended by the sidecar."""
        async with asyncio.timeout(CUT_S):
            try:
                while await reader.read(65536):
                    pass
            except OSError:
                pass


async def staged(folder: Path, domain: TrustDomain, other: TrustDomain, **more: Any) -> dict[str, Any]:
    (folder / "example.org.pem").write_bytes(domain.pem)
    (folder / "other.test.pem").write_bytes(other.pem)
    bundles = {name: str(folder / f"{name}.pem") for name in ("example.org", "other.test")}
    server = domain.server(folder)
    return {
        "listeners": {
            "proxy": "127.0.0.1:0",
            "control": "127.0.0.1:0",
            "more": [
                {"at": "127.0.0.1:0", "tls": {**server, "trust_bundles": bundles}},
                {"at": "127.0.0.1:0", "tls": server},
            ],
        },
        "agents": {
            "coder": {"accounts": ["*"], "spiffe": CODER},
            "rival": {"accounts": ["other/*"], "spiffe": RIVAL},
        },
        **more,
    }


def stage_of(rig: Rig, folder: Path, domain: TrustDomain, other: TrustDomain) -> Stage:
    return Stage(rig, folder, domain, other, int(rig.sidecar.endpoints[1].rpartition(":")[2]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("spiffe")
    domain, other = TrustDomain("example.org"), TrustDomain("other.test")
    async with running_rig(folder, settings=await staged(folder, domain, other)) as rig:
        yield stage_of(rig, folder, domain, other)


# -- who gets in -----------------------------------------------------------------------------------------------------


async def test_an_svid_is_its_agent_and_no_token_is_needed(stage: Stage) -> None:
    assert await stage.get(await stage.tunnel(stage.domain.svid(CODER))) == 200
    assert stage.rig.provider.last.one("authorization") == f"Bearer {KEY}"
    call = (await stage.rig.settled(1))[-1].decision
    assert (call["agent"], call["token_id"], call["decision"]) == ("coder", f"@{CODER}", "allow")


async def test_curl_httpx_and_requests_take_it(stage: Stage) -> None:
    svid = stage.domain.svid(CODER).write(stage.folder / "svid.pem")
    roots = stage.folder / "example.org.pem"
    proxy = f"https://127.0.0.1:{stage.port}"
    command = [
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--proxy", proxy, "--proxy-cert", svid,
        "--proxy-key", svid, "--proxy-cacert", roots, "--cacert", stage.rig.bundle, f"{stage.rig.base}/x",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env={"PATH": "/usr/bin:/bin"})
    assert await process.communicate() == (b"200", b"")
    context = stage.context(stage.domain.svid(CODER))
    given = httpx.Proxy(proxy, ssl_context=context)
    async with httpx.AsyncClient(proxy=given, verify=stage.rig.trust(), trust_env=False) as client:
        assert (await client.get(f"{stage.rig.base}/x")).status_code == 200

    class ShowingAdapter(HTTPAdapter):
        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, proxy_ssl_context=context, **options)

    def by_requests() -> int:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", ShowingAdapter())
            bundle = str(stage.rig.bundle)
            return session.get(f"{stage.rig.base}/x", proxies={"https": proxy}, verify=bundle, timeout=10).status_code

    assert await asyncio.to_thread(by_requests) == 200


async def test_clients_that_come_and_go_leave_no_fault_behind(stage: Stage) -> None:
    """However they leave: with an answer or before it, closed or reset, over plain requests or in a tunnel."""
    faults: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    svid = stage.domain.svid(CODER)
    internal = b"GET http://briefcased.internal/ HTTP/1.1\r\nHost: briefcased.internal\r\n\r\n"
    try:
        for raw in (b"", internal[:20], internal, internal * 2):
            for leave in ("close", "abort"):
                _reader, writer = await stage.open(stage.context(svid))
                writer.write(raw)
                if raw == internal:
                    assert (await read_answer(_reader)).status == 200
                getattr(writer.transport, leave)()
        for opened in [await stage.tunnel(svid) for _ in range(2)]:
            assert await stage.get(opened) == 200
            opened[1].close()
        async with asyncio.timeout(CUT_S):
            while stage.rig.sidecar.gauges()["connections"]:
                await asyncio.sleep(0.02)
    finally:
        loop.set_exception_handler(None)
    assert faults == []


async def test_an_intermediate_ca_may_stand_between(stage: Stage) -> None:
    between = TrustDomain("example.org", stage.domain)
    assert await stage.asked(between.svid(CODER)) == 200


async def test_a_valid_svid_of_nobody_gets_a_407(stage: Stage) -> None:
    assert await stage.asked(stage.domain.svid("spiffe://example.org/stranger")) == 407
    assert (await stage.rig.settled(1))[-1].decision["slug"] == "proxy_auth_required"


REFUSED: dict[str, Any] = {
    "none at all": None,
    "a CA that nobody knows": lambda _s: TrustDomain("example.org").svid(CODER),
    "expired": lambda s: s.domain.svid(CODER, life=-SECOND),
    "for servers alone": lambda s: s.domain.svid(CODER, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "of the other trust domain's CA": lambda s: s.other.svid(CODER),
    "of the other trust domain, by our CA": lambda s: s.domain.svid(RIVAL),
    "two URIs": lambda s: s.domain.svid(CODER, "spiffe://example.org/agents/other"),
    "no URI": lambda s: s.domain.svid(),
    "a CA's": lambda s: s.domain.svid(CODER, ca=True, usages=("digital_signature", "key_cert_sign")),
    "may sign": lambda s: s.domain.svid(CODER, usages=("digital_signature", "key_cert_sign")),
    "of the trust domain itself": lambda s: s.domain.svid("spiffe://example.org"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_p5_without_a_valid_svid_nothing_is_answered(stage: Stage, kind: str) -> None:
    before, made = len(stage.rig.provider.requests), REFUSED[kind]
    known = len(await stage.rig.receipts())
    assert await stage.asked(made(stage) if made else None) is None
    assert len(stage.rig.provider.requests) == before
    calls = await stage.rig.settled(known + 1)
    assert (calls[-1].decision["slug"], calls[-1].decision["agent"]) == ("proxy_auth_required", "-")


async def test_only_tls_1_3_and_modern_suites_of_1_2(stage: Stage) -> None:
    svid = stage.domain.svid(CODER)
    assert await stage.asked(svid, maximum_version=ssl.TLSVersion.TLSv1_2) == 200
    old = stage.context(svid)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    older = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{stage.port}", *older]
    process = await asyncio.create_subprocess_exec(*command, stdin=-3, stdout=-1, stderr=-1)
    out, _ = await process.communicate()
    assert (process.returncode, b"Cipher is (NONE)" in out) == (1, True)
    for suites in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"):  # no ephemeral keys; no AEAD
        old.set_ciphers(suites)
        with pytest.raises(OSError):
            await stage.open(old)


async def test_p5_plain_http_gets_no_answer(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(f"CONNECT {stage.target} HTTP/1.1\r\n{stage.rig.credentials('coder')}\r\n".encode())
    assert not (await reader.read()).startswith(b"HTTP/")
    writer.close()


async def test_tls_alone_asks_for_the_token_as_ever(stage: Stage) -> None:
    plain = replace(stage, port=int(stage.rig.sidecar.endpoints[2].rpartition(":")[2]))
    assert await plain.asked(None, stage.rig.credentials("coder")) == 200
    assert await plain.asked(None) == 407
    assert await plain.asked(stage.domain.svid(CODER)) == 407  # nobody asked for it


# -- one connection, one identity ------------------------------------------------------------------------------------


async def test_h_07_a_token_of_another_agent_is_refused(stage: Stage) -> None:
    """H-07: the SVID says whose the connection is; a token of another agent on it is nobody's."""
    svid = stage.domain.svid(CODER)
    assert await stage.asked(svid, stage.rig.credentials("rival")) == 407
    assert await stage.asked(svid, stage.rig.credentials("coder")) == 200
    assert await stage.asked(svid, "Proxy-Authorization: Bearer bca_nonsense\r\n") == 407


async def test_h_07_on_plain_requests_every_head_is_looked_at(stage: Stage) -> None:
    """H-07: heads in absolute form may go without a token, but not with another agent's."""
    url = f"http://{stage.target}/x"
    reader, writer = await stage.open(stage.context(stage.domain.svid(CODER)))

    async def problem(head: str = "") -> str | None:
        writer.write(f"GET {url} HTTP/1.1\r\nHost: {stage.target}\r\n{head}\r\n".encode())
        return (await read_answer(reader)).problem

    assert await problem() == "operation_not_allowed"  # the provider wants TLS: known, and judged
    assert await problem() == "operation_not_allowed"
    assert await problem(stage.rig.credentials("rival")) == "proxy_auth_required"
    writer.close()
    assert {c.decision["agent"] for c in (await stage.rig.settled(1))[-3:]} <= {"coder", "-"}


async def test_a_task_token_of_the_same_agent_narrows_the_connection(stage: Stage) -> None:
    text = task_token(stage.rig, methods=["POST"])
    opened = await stage.tunnel(stage.domain.svid(CODER), f"Proxy-Authorization: Bearer {text}\r\n")
    assert await stage.get(opened) == 403
    opened[1].close()


# -- its end ---------------------------------------------------------------------------------------------------------


async def test_h_08_a_connection_ends_with_its_svid(stage: Stage) -> None:
    """H-08, F-14: what lasts past the SVID's end is cut within five seconds, and its receipt says so."""
    reader, writer = await stage.tunnel(stage.domain.svid(CODER, life=3 * SECOND))
    assert await stage.get((reader, writer)) == 200
    stage.rig.provider.on("/stream", _stream)
    writer.write(f"GET /stream HTTP/1.1\r\nHost: {stage.target}\r\n\r\n".encode())
    assert (await read_answer(reader, head_only=True)).status == 200
    await asyncio.sleep(2)
    await stage.ended(reader)
    ended = next(c for c in await stage.rig.settled(1) if c.decision.get("path") in ("/stream", None) and c.outcome)
    assert ended.outcome is not None
    assert (ended.outcome["outcome"], ended.outcome["error"]) == ("response_aborted", "revoked")
    writer.transport.abort()


async def _stream(_seen: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n")
    await writer.drain()
    await asyncio.sleep(30)


async def test_h_08_a_reload_that_takes_the_spiffe_id_away_ends_its_connections(stage: Stage) -> None:
    """H-08: whose SPIFFE ID it is is looked up again at each call."""
    opened = await stage.tunnel(stage.domain.svid(CODER))
    assert await stage.get(opened) == 200
    old = stage.rig.configuration
    agents = {**old.settings.agents, "coder": old.settings.agents["coder"].model_copy(update={"spiffe": None})}
    settings = old.settings.model_copy(update={"agents": agents})
    await stage.rig.sidecar.reload(Configuration(settings, old.profiles))
    try:
        await stage.ended(opened[0])
        assert await stage.asked(stage.domain.svid(CODER)) == 407
    finally:
        await stage.rig.sidecar.reload(old)
    assert await stage.asked(stage.domain.svid(CODER)) == 200
    opened[1].transport.abort()


async def test_files_are_read_again_when_they_change(stage: Stage) -> None:
    """A CA that leaves its bundle ends the connections that came with it; no restart, and garbage changes nothing."""
    bundle = stage.folder / "example.org.pem"
    kept, gone = await stage.tunnel(stage.other.svid(RIVAL)), await stage.tunnel(stage.domain.svid(CODER))
    new = TrustDomain("example.org", TrustDomain("example.org"))  # an intermediate CA may be what is trusted
    server = {name: (stage.folder / f"listener.{name}").read_bytes() for name in ("pem", "key")}
    bundle.write_bytes(b"no certificate")
    await asyncio.sleep(1.3)
    assert await stage.asked(stage.domain.svid(CODER)) == 200  # the old bundle is still in use
    bundle.write_bytes(new.pem)
    new.server(stage.folder)
    renewed = replace(stage, domain=new)
    try:
        await stage.ended(gone[0])
        assert await renewed.asked(new.svid(CODER)) == 200  # it trusts the new CA: the listener shows its certificate
        with pytest.raises(ssl.SSLCertVerificationError):
            await stage.open(stage.context(stage.domain.svid(CODER)))
        assert await renewed.asked(stage.domain.svid(CODER)) is None
        kept[1].write(b"GET /x HTTP/1.1\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept[0].read(1), 0.2)
    finally:
        bundle.write_bytes(stage.domain.pem)
        for name, data in server.items():
            (stage.folder / f"listener.{name}").write_bytes(data)
        await asyncio.sleep(1.3)
    assert await stage.asked(stage.domain.svid(CODER)) == 200
    kept[1].transport.abort()
