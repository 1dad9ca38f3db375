"""A listener's TLS beside who gets in: files that are no good, ceilings, an agent that is revoked."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from proxy.catalog.configuration import mistakes
from proxy.clock import SystemClock
from proxy.db.engine import DATABASE, open_database
from proxy.errors import BriefcaseError
from proxy.front.tls import Door
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry
from proxy.identity.svid import Svid, read_svid
from proxy.settings import Settings
from proxy.tls_settings import ListenerTls
from tests.rig import running_rig
from tests.rig.spiffe import CODER, CUT_S, stage_of, staged
from tests.rig.svids import TrustDomain

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.identity.registry import Authenticator


async def test_h_08_a_revoked_agent_is_cut_off_whatever_its_svid_says(tmp_path: Path) -> None:
    """H-08: the certificate lasts for an hour more, its agent does not."""
    domain, other = TrustDomain("example.org"), TrustDomain("other.test")
    (tmp_path / "home").mkdir(mode=0o700)
    database = open_database(tmp_path / "home" / DATABASE)
    store.add_agent(database, "coder", ("*",), clock=SystemClock())

    def before(_registry: Authenticator, settings: Settings) -> Authenticator:
        return AgentRegistry(database, clock=SystemClock(), directory=Directory.of(settings))

    async with running_rig(tmp_path, settings=await staged(tmp_path, domain, other), before=before) as rig:
        stage, svid = stage_of(rig, tmp_path, domain, other), domain.svid(CODER)
        opened = await stage.tunnel(svid)
        assert await stage.get(opened) == 200
        assert store.revoke_agent(database, "coder", clock=SystemClock())
        await stage.ended(opened[0])
        assert await stage.asked(svid) == 407
        opened[1].transport.abort()
    database.dispose()


async def test_p7_a_client_that_says_nothing_does_not_stay(tmp_path: Path) -> None:
    domain = TrustDomain("example.org")
    limits = {"header_timeout_s": 0.5, "max_connections": 3}
    settings = await staged(tmp_path, domain, TrustDomain("other.test"), limits=limits)
    async with running_rig(tmp_path, settings=settings) as rig:
        stage = stage_of(rig, tmp_path, domain, domain)
        began_s = time.monotonic()
        silent = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(3)]
        assert await stage.asked(domain.svid(CODER)) is None  # they count before their handshake
        for reader, writer in silent:
            async with asyncio.timeout(CUT_S):
                assert await reader.read() == b""
            writer.close()
        assert 0.4 < time.monotonic() - began_s < CUT_S
        assert await stage.asked(domain.svid(CODER)) == 200


def files(folder: Path, **changed: bytes) -> ListenerTls:
    domain = TrustDomain("example.org")
    made = domain.server(folder)
    (folder / "bundle.pem").write_bytes(domain.pem)
    for name, data in changed.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    given: dict[str, Any] = {**made, "trust_bundles": {"example.org": str(folder / "bundle.pem")}}
    return ListenerTls.model_validate(given)


@pytest.mark.parametrize(
    "changed",
    [
        {"listener_pem": b""},
        {"listener_key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        {"listener_key": None},
        {"bundle_pem": b"no certificate"},
        {"bundle_pem": b""},
    ],
)
def test_p5_files_that_are_no_good_stop_a_start(tmp_path: Path, changed: dict[str, bytes | None]) -> None:
    other = TrustDomain("example.org").svid(CODER).key_pem
    settings = files(tmp_path, **{name: other if data is None else data for name, data in changed.items()})
    with pytest.raises(BriefcaseError, match=r"not PEM, or a key that does not fit|no PEM"):
        Door(settings)


def test_p5_a_file_that_is_not_there_stops_a_start(tmp_path: Path) -> None:
    settings = files(tmp_path)
    settings.key.unlink()
    with pytest.raises(BriefcaseError, match="No such file"):
        Door(settings)


def test_a_key_with_a_password_stops_a_start_and_asks_nobody(tmp_path: Path) -> None:
    key = TrustDomain("example.org").key
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(BriefcaseError, match=r"listener\.key"):
        Door(files(tmp_path, listener_key=encrypted))


TLS = {"certificate": "/c.pem", "key": "/k.pem", "trust_bundles": {"example.org": "/b.pem"}}


@pytest.mark.parametrize(
    ("listener", "agents", "told"),
    [
        ({"kind": "base_url"}, {}, "only a proxy"),
        ({"at": "unix:/run/x.sock"}, {}, "only a proxy"),
        ({"agent": "coder"}, {"coder": {}}, "the client's certificate says"),
        ({"tls": {**TLS, "trust_bundles": {"Example.org": "/b.pem"}}}, {}, "not the name of a trust domain"),
        ({}, {"coder": {"spiffe": "spiffe://example.org/.."}}, "a SPIFFE ID is"),
        ({}, {"coder": {"spiffe": "spiffe://elsewhere.test/a"}}, "no listener has the trust bundle"),
        ({}, {"coder": {"spiffe": CODER}, "other": {"spiffe": CODER}}, "agent coder has this SPIFFE ID too"),
    ],
)
def test_slips_of_the_configuration_are_named(listener: dict[str, Any], agents: dict[str, Any], told: str) -> None:
    settings = Settings.model_validate(
        {"version": 1, "listeners": {"more": [{"at": "127.0.0.1:0", "tls": TLS, **listener}]}, "agents": agents},
        strict=False,
    )
    found = [message for _, message in mistakes(settings, {})]
    assert [message for message in found if told in message], found


async def test_p5_while_only_half_is_written_the_old_files_count(tmp_path: Path) -> None:
    old = TrustDomain("example.org")
    settings = files(tmp_path)
    settings.trust_bundles["example.org"].write_bytes(old.pem)
    door, new = Door(settings), TrustDomain("example.org")
    key = settings.key.read_bytes()
    settings.trust_bundles["example.org"].write_bytes(new.pem)
    settings.key.write_bytes(key[:40])
    await door.refresh()
    assert (door.trusts(svid_of(old)), door.trusts(svid_of(new))) == (True, False)
    settings.key.write_bytes(key)
    await door.refresh()
    assert (door.trusts(svid_of(old)), door.trusts(svid_of(new))) == (False, True)


def svid_of(domain: TrustDomain) -> Svid:
    anchor = hashlib.sha256(domain.certificate.public_bytes(Encoding.DER)).hexdigest()
    found = read_svid(domain.svid(CODER).der, anchor)
    assert isinstance(found, Svid)
    return found
