from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs.authority import CertificateAuthority
from certs.files import locked, write_atomically
from certs.names import NotManagedError
from certs.storage import PASSPHRASE_VARIABLE, ca_passphrase
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError
from proxy.secret import Secret
from tests.certs.conftest import DAY_MS, handshake

HOST = "api.example.test"
PASSPHRASE = Secret("passphrase", b"correct horse battery staple")


def opened(directory, clock, passphrase=PASSPHRASE):
    return CertificateAuthority.load_or_create(directory, patterns=[HOST], passphrase=passphrase, clock=clock)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "ca"


def test_the_root_is_made_once_and_found_again(directory, clock):
    first = opened(directory, clock)
    second = opened(directory, clock)
    assert first.bundle_pem() == second.bundle_pem()
    handshake(second.leaf(HOST), first.bundle_pem(), HOST)
    assert first.leaf(HOST).chain != second.leaf(HOST).chain  # intermediates live in one process


def test_p1_keys_rest_encrypted_in_private_files(directory, clock):
    ca = opened(directory, clock)
    ca.leaf(HOST)
    assert mode_of(directory) == 0o700
    assert {path.name: mode_of(path) for path in directory.iterdir()} == {"roots.json": 0o600, "lock": 0o600}
    content = (directory / "roots.json").read_text()
    (entry,) = json.loads(content)["roots"]
    assert entry["key"].startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert "BEGIN PRIVATE KEY" not in content
    for guess in (None, b"", PASSPHRASE.reveal()):  # the passphrase itself does not open it: scrypt stands between
        with pytest.raises((ValueError, TypeError)):
            serialization.load_pem_private_key(entry["key"].encode(), guess)


def test_p5_another_passphrase_is_refused_and_nothing_is_overwritten(directory, clock):
    opened(directory, clock)
    before = (directory / "roots.json").read_bytes()
    wrong = Secret("passphrase", b"hunter2-hunter2")
    with pytest.raises(BriefcaseError, match="passphrase") as caught:
        opened(directory, clock, wrong)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert (directory / "roots.json").read_bytes() == before


@pytest.fixture(scope="module")
def sound_state(tmp_path_factory):
    """One root at rest, made once because scrypt is meant to be slow."""
    directory = tmp_path_factory.mktemp("sound") / "ca"
    opened(directory, SystemClock())
    return (directory / "roots.json").read_bytes()


@pytest.fixture
def at_rest(directory, sound_state):
    directory.mkdir(parents=True, mode=0o700)
    write_atomically(directory / "roots.json", sound_state, mode=0o600)
    return directory / "roots.json"


def edited(change):
    def apply(path: Path):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return apply


def swap_keys(document):
    from certs.roots import new_root
    from certs.storage import _entry

    other = _entry(new_root(0, lifetime_s=60), PASSPHRASE)
    document["roots"][0].update(key=other["key"], salt=other["salt"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b"[]"),
        lambda path: path.write_bytes(b"null"),
        edited(lambda d: d.update(version=2)),
        edited(lambda d: d.update(roots=[])),
        edited(lambda d: d.update(roots=7)),
        edited(lambda d: d.update(roots=["x"])),
        edited(lambda d: d["roots"][0].pop("salt")),
        edited(lambda d: d["roots"][0].update(salt="zz")),
        edited(lambda d: d["roots"][0].update(certificate="x")),
        edited(lambda d: d["roots"][0].update(key="x")),
        edited(lambda d: d["roots"][0].update(signs_from_ms="1")),
        edited(lambda d: d["roots"][0].update(trusted_until_ms=1.5)),
        edited(swap_keys),
    ],
)
def test_p5_a_damaged_file_is_refused(at_rest, clock, damage):
    damage(at_rest)
    before = at_rest.read_bytes()
    with pytest.raises(BriefcaseError, match=r"roots\.json"):
        opened(at_rest.parent, clock)
    assert at_rest.read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_p5_a_key_that_everyone_can_reach_is_refused(at_rest, clock, mode):
    at_rest.chmod(mode)
    with pytest.raises(BriefcaseError, match="every account"):
        opened(at_rest.parent, clock)


def test_group_access_as_kubernetes_sets_it_is_taken_away(directory, clock):
    first = opened(directory, clock)
    directory.chmod(0o2770)
    (directory / "roots.json").chmod(0o660)
    assert opened(directory, clock).bundle_pem() == first.bundle_pem()
    assert mode_of(directory / "roots.json") == 0o600
    assert mode_of(directory) & 0o777 == 0o700


def test_a_running_sidecar_sees_a_rotation_by_another_process(directory, clock):
    running, command = opened(directory, clock), opened(directory, clock)
    old = running.leaf(HOST)
    command.rotate()
    assert running.bundle_pem() == command.bundle_pem()
    assert running.bundle_pem().count(b"BEGIN CERTIFICATE") == 2
    clock.now_ms += 4 * DAY_MS
    new_root = next(root for root in running.roots() if root.state == "signing")
    assert running.leaf(HOST).chain[0].issuer.rfc4514_string() == new_root.subject
    assert old.chain[0].issuer.rfc4514_string() != new_root.subject


def test_a_rotation_builds_on_what_another_process_left(directory, clock):
    first, second = opened(directory, clock), opened(directory, clock)
    first.rotate()
    with pytest.raises(BriefcaseError, match="under way"):
        second.rotate()
    assert first.bundle_pem() == opened(directory, clock).bundle_pem()


def test_p5_no_leaf_once_the_state_is_gone_or_damaged(directory, clock):
    ca = opened(directory, clock)
    ca.leaf(HOST)
    (directory / "roots.json").write_bytes(b"{}")
    with pytest.raises(BriefcaseError, match="damaged"):
        ca.leaf(HOST)
    (directory / "roots.json").unlink()
    for _ in range(2):
        with pytest.raises(BriefcaseError):
            ca.leaf(HOST)
    with pytest.raises(NotManagedError):
        ca.leaf("other.test")
    with pytest.raises(BriefcaseError, match="gone"):
        ca.rotate(overlap_s=0)
    assert not (directory / "roots.json").exists()


def test_the_key_of_a_root_whose_time_is_over_is_deleted_at_the_next_start(directory, clock):
    ca = opened(directory, clock)
    (old,) = x509.load_pem_x509_certificates(ca.bundle_pem())
    ca.rotate()
    assert len(json.loads((directory / "roots.json").read_text())["roots"]) == 2
    clock.now_ms += 7 * DAY_MS
    bundle = opened(directory, clock).bundle_pem()
    (entry,) = json.loads((directory / "roots.json").read_text())["roots"]
    assert entry["certificate"].encode() == bundle != old.public_bytes(serialization.Encoding.PEM)


CREATOR = """
import sys
from pathlib import Path
from certs.authority import CertificateAuthority
from certs.storage import ca_passphrase
from proxy.clock import SystemClock
directory = Path(sys.argv[1])
sys.stdin.read()
ca = CertificateAuthority.load_or_create(
    directory, patterns=[], passphrase=ca_passphrase(directory, environment={}), clock=SystemClock())
print(ca.fingerprint)
"""


def test_processes_that_start_at_once_share_one_root(directory):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        process.stdin.close()
        process.stdin = None
    fingerprints = {process.communicate(timeout=20)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 6
    assert len(fingerprints) == 1
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "passphrase", "roots.json"]


def test_the_lock_keeps_a_second_one_out_until_it_is_free(directory, monkeypatch):
    directory.mkdir(parents=True)
    monkeypatch.setattr("certs.files.LOCK_PAUSE_S", 0)
    with locked(directory), pytest.raises(BriefcaseError, match="another process"):
        with locked(directory):
            raise AssertionError("two holders")
    with locked(directory):
        pass


def test_the_passphrase_is_made_on_first_use_and_stays(directory):
    first = ca_passphrase(directory, environment={})
    assert ca_passphrase(directory, environment={}) == first
    assert len(first) == 44
    assert mode_of(directory / "passphrase") == 0o600
    assert mode_of(directory) == 0o700
    assert first.reveal().decode() not in repr(first)


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"chosen\n", b"chosen"), (b"chosen\r\n", b"chosen"), (b" chosen \n", b" chosen "), (b"a\n\n", b"a\n")],
)
def test_the_operators_passphrase_file_comes_first(tmp_path, directory, content, value):
    chosen = tmp_path / "chosen"
    chosen.write_bytes(content)
    assert ca_passphrase(directory, environment={PASSPHRASE_VARIABLE: str(chosen)}).reveal() == value
    assert not directory.exists()


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_p5_a_missing_or_empty_passphrase_is_refused(tmp_path, directory, content):
    chosen = tmp_path / "chosen"
    if content is not None:
        chosen.write_bytes(content)
    with pytest.raises(BriefcaseError):
        ca_passphrase(directory, environment={PASSPHRASE_VARIABLE: str(chosen)})
    directory.mkdir(parents=True)
    (directory / "passphrase").write_bytes(content or b"")
    (directory / "passphrase").chmod(0o600)
    with pytest.raises(BriefcaseError, match="empty"):
        ca_passphrase(directory, environment={})


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "x").write_bytes(b"in the way")
    with pytest.raises(BriefcaseError, match="cannot be written"):
        write_atomically(target, b"new", mode=0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
