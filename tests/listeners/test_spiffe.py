"""A proxy over TLS whose clients are who their X.509-SVID says: real clients, a CA of our own, the real sidecar."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from cryptography.x509.oid import ExtendedKeyUsageOID
from requests.adapters import HTTPAdapter

from tests.control.tenancy import task_token
from tests.rig.raw import read_answer
from tests.rig.sidecar import KEY
from tests.rig.spiffe import CODER, CUT_S, RIVAL, SECOND, UNREAD
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from tests.rig.spiffe import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_large_bodies_and_unread_tunnels_pass_too(stage: Stage) -> None:
    """More than any buffer holds, both ways; and a host whose TLS is not opened, within the listener's."""
    big = b"0123456789abcdef" * 65_536
    stage.rig.provider.answers("/big", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big))
    given = httpx.Proxy(f"https://127.0.0.1:{stage.port}", ssl_context=stage.context(stage.domain.svid(CODER)))
    async with httpx.AsyncClient(proxy=given, verify=stage.rig.trust(), trust_env=False) as client:
        assert (await client.post(f"{stage.rig.base}/x", content=big)).status_code == 200
        assert stage.rig.provider.last.body == big
        assert (await client.get(f"{stage.rig.base}/big")).content == big
    reader, writer = await stage.open(stage.context(stage.domain.svid(CODER)))
    target = f"{UNREAD}:{stage.rig.provider.port}"
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    assert (await read_answer(reader, head_only=True)).status == 200
    roots = ssl.create_default_context(cafile=str(stage.rig.provider.root))
    await writer.start_tls(roots, server_hostname=UNREAD)
    writer.write(f"GET /x HTTP/1.1\r\nHost: {UNREAD}\r\n\r\n".encode())
    assert (await read_answer(reader)).status == 200
    writer.close()
    last = (await stage.rig.settled(1))[-1]
    assert (last.decision["tunnel"], last.decision["agent"]) == (True, "coder")


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
