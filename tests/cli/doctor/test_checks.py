"""Broken machines, each made for real: files, sockets, variables, installed distributions."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from certs.roots import new_root
from certs.storage import ca_directory, ca_passphrase
from proxy.cli.doctor.checks import Situation, clock, owners, ports, state, trust, variables
from proxy.cli.doctor.checks.bypass import bypassed
from proxy.cli.doctor.checks.clock import implausible
from proxy.cli.doctor.checks.ports import taken
from proxy.cli.doctor.checks.state import disk
from proxy.cli.doctor.checks.trust import holds_ours
from proxy.cli.doctor.checks.variables import proxy_place
from proxy.cli.doctor.report import Level
from proxy.clock import SystemClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def situation(home, config=None, **environment):
    return Situation(home=home, environment=environment, config=config or home / "absent.yaml")


def levels(findings):
    return [finding.level for finding in findings]


def written(path, settings):
    path.write_text(yaml.safe_dump({"version": 1, **settings}))
    return path


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def vacant():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_proxy_that_is_gone_and_one_that_is_there(home, listening, vacant):
    (found,) = variables(situation(home, HTTPS_PROXY=f"http://u:pa55word@127.0.0.1:{vacant}"))
    assert found.level is Level.WARNING
    assert f"127.0.0.1:{vacant}" in found.text
    assert "pa55word" not in found.text + found.remedy
    (fine,) = variables(situation(home, HTTPS_PROXY=f"http://127.0.0.1:{listening}"))
    assert fine.level is Level.OK


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR"])
def test_a_bundle_that_is_gone(home, name):
    (found,) = variables(situation(home, **{name: str(home / "gone")}))
    assert (found.level, found.remedy) == (Level.PROBLEM, f"Unset {name}.")


def test_spellings_that_disagree(home, listening):
    here = f"http://127.0.0.1:{listening}"
    (found,) = variables(situation(home, HTTPS_PROXY=here, https_proxy=here + "/"))
    assert "disagree" in found.text
    (found,) = variables(situation(home, NO_PROXY="a", no_proxy="b"))
    assert "NO_PROXY and no_proxy disagree" in found.text


def test_a_managed_host_that_goes_around(home, tmp_path):
    provider = {"accounts": {"default": {"secrets": {"token": "env:X"}}}}
    config = written(tmp_path / "briefcased.yaml", {"providers": {"github": provider}})
    (found,) = variables(situation(home, config, NO_PROXY="localhost,.github.com"))
    assert found.level is Level.PROBLEM
    assert "api.github.com" in found.text


@pytest.mark.parametrize(
    ("no_proxy", "around"),
    [
        ("", []),
        ("localhost,127.0.0.1", []),
        ("*", ["api.example.com", "*.corp.example"]),
        ("api.example.com", ["api.example.com"]),
        ("API.Example.COM:443", ["api.example.com"]),
        (".example.com", ["api.example.com"]),
        ("*.example.com", ["api.example.com"]),
        ("com", ["api.example.com"]),
        ("ample.com", []),
        ("x corp.example", ["*.corp.example"]),
        ("::1", []),
    ],
)
def test_what_no_proxy_keeps_away(no_proxy, around):
    assert bypassed(no_proxy, ["api.example.com", "*.corp.example"]) == around


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("http://a:b@h:8080", ("h", 8080)),
        ("h:8080", ("h", 8080)),
        ("https://h", ("h", 443)),
        ("socks5://[::1]", ("::1", 1080)),
        ("http://h:port", None),
        ("nonsense://h", None),
        ("http://", None),
    ],
)
def test_a_proxys_url_is_read(value, place):
    assert proxy_place(value) == place


def test_a_listener_that_is_taken_is_named_with_its_holder(home, tmp_path, listening):
    listeners = {"proxy": f"127.0.0.1:{listening}", "control": "127.0.0.1:0"}
    config = written(tmp_path / "briefcased.yaml", {"listeners": listeners})
    taken, free = ports(situation(home, config))
    assert (taken.level, free.level) == (Level.PROBLEM, Level.OK)
    assert f"(process {os.getpid()})" in taken.text


def test_a_listener_is_free_taken_or_on_another_machine(listening, vacant):
    assert taken("127.0.0.1", vacant) is None
    assert taken("127.0.0.1", listening) == "busy"
    assert taken("192.0.2.1", 8080) == "Cannot assign requested address"


@pytest.mark.parametrize(("mode", "level"), [(0o700, Level.OK), (0o755, Level.WARNING), (0o777, Level.PROBLEM)])
def test_who_may_enter_the_state_directory(home, mode, level):
    home.chmod(mode)
    (found,) = state(situation(home))
    assert found.level is level


def test_a_state_directory_that_is_a_file_or_not_there(home):
    (home / "file").touch()
    assert levels(state(situation(home / "file"))) == [Level.PROBLEM]
    assert levels(state(situation(home / "new" / "deep"))) == [Level.OK]
    assert levels(disk(situation(home / "new" / "deep"))) != []


def test_an_interception_ca_that_is_good_open_damaged(home):
    directory = ca_directory(home)
    assert levels(trust(situation(home))) == [Level.OK]
    passphrase = ca_passphrase(directory, environment={})
    CertificateAuthority.load_or_create(directory, patterns=(), passphrase=passphrase, clock=SystemClock())
    assert levels(trust(situation(home))) == [Level.OK]
    (directory / "roots.json").chmod(0o644)
    assert levels(trust(situation(home))) == [Level.OK, Level.PROBLEM]
    (directory / "roots.json").write_text("{")
    assert levels(trust(situation(home))) == [Level.PROBLEM]


@pytest.mark.parametrize(("left_s", "level"), [(-60, Level.PROBLEM), (86_400, Level.WARNING)])
def test_an_interception_ca_at_its_end(home, left_s, level):
    past = timedelta(days=100)
    root = new_root(int((datetime.now(UTC) - past).timestamp() * 1000), lifetime_s=int(past.total_seconds()) + left_s)
    pem = root.certificate.public_bytes(serialization.Encoding.PEM)
    (home / "ca").mkdir(mode=0o700)
    (home / "ca" / "roots.json").touch(mode=0o600)
    (home / "ca" / "roots.json").write_text(json.dumps({"version": 1, "roots": [{"certificate": pem.decode()}]}))
    assert levels(trust(situation(home))) == [level]
    assert holds_ours(b"# before\n" + pem)
    assert not holds_ours(b"")


@pytest.mark.parametrize(
    ("now", "plausible"),
    [
        (NOW, True),
        (NOW - timedelta(minutes=4), True),
        (NOW - timedelta(minutes=6), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
    ],
)
def test_a_clock_before_what_has_happened(now, plausible):
    assert (implausible(now, {"a file was written": NOW, "an older one": NOW - timedelta(days=9)}) is None) is plausible


def test_a_file_of_the_state_from_the_future(home):
    (home / "briefcased.db").touch(mode=0o600)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    os.utime(home / "briefcased.db", (tomorrow, tomorrow))
    assert levels(clock(situation(home))) == [Level.PROBLEM]


def test_a_second_owner_of_an_import_name(tmp_path, monkeypatch):
    assert levels(owners(None)) == [Level.OK]
    folder = tmp_path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: proxy.py\nVersion: 1.0\n")
    (folder / "RECORD").write_text("proxy/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = owners(None)
    assert (found.level, found.text) == (Level.PROBLEM, "the distribution proxy.py provides a package `proxy` too")
