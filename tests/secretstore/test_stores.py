"""Real files, real commands: what a store gives, and how it fails without telling."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from proxy.clock import SystemClock
from proxy.secret import Secret
from proxy.secretstore import SecretStores, SecretUnavailableError, bad_ref
from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import FileStore
from proxy.secretstore.local import FILE, KEY_FILE, LocalStore, LocalStoreError

VALUE = b"a-very-secret-value"


class SetClock(SystemClock):
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    "ref", ["env:GITHUB_TOKEN", "file:/run/secret", 'exec:["pass","show","x"]', "local:github/token"]
)
def test_good_refs(ref):
    assert bad_ref(ref) is None


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "ghp_pasted",
        "env:",
        "env:A B",
        "file:relative",
        "exec:pass show x",
        "exec:[]",
        'exec:["a",1]',
        "exec:{}",
        "local:Bad Name",
        "vault:x",
    ],
)
def test_bad_refs_are_explained_without_being_repeated(ref):
    problem = bad_ref(ref)
    assert problem
    assert "pasted" not in problem


async def test_env_is_a_copy():
    variables = {"A": VALUE.decode(), "EMPTY": ""}
    store = EnvStore(variables)
    variables["A"] = "changed"
    assert (await store.get("A")).reveal() == VALUE
    for name in ("B", "EMPTY"):
        with pytest.raises(SecretUnavailableError):
            await store.get(name)


async def test_file_rotation_is_noticed_by_rewriting_and_by_replacing(tmp_path):
    path, store = tmp_path / "s", FileStore()
    path.write_bytes(VALUE + b"\n")
    first = await store.get(str(path))
    assert first.reveal() == VALUE
    assert await store.get(str(path)) is first
    path.write_bytes(b"another-secret-value\r\n")
    assert (await store.get(str(path))).reveal() == b"another-secret-value"
    (tmp_path / "new").write_bytes(b"a-third-secret-valu\n")
    (tmp_path / "new").rename(path)
    assert (await store.get(str(path))).reveal() == b"a-third-secret-valu"
    path.unlink()
    with pytest.raises(SecretUnavailableError):
        await store.get(str(path))
    with pytest.raises(SecretUnavailableError):
        await store.get(str(tmp_path))


def command(*parts: str) -> str:
    return json.dumps(list(parts))


async def test_exec_runs_once_for_all_and_again_after_its_time(tmp_path):
    clock, count = SetClock(), tmp_path / "count"
    store = ExecStore(clock=clock, ttl_s=60, timeout_s=10, environment={"PATH": "/usr/bin:/bin"})
    place = command("sh", "-c", f"echo x >> {count}; echo {VALUE.decode()}")
    values = await asyncio.gather(*(store.get(place) for _ in range(10)))
    assert {value.reveal() for value in values} == {VALUE}
    assert count.read_text().count("x") == 1
    clock.now_s = 61
    await store.get(place)
    assert count.read_text().count("x") == 2


async def test_exec_uses_no_shell_and_hides_what_goes_wrong():
    store = ExecStore(clock=SystemClock(), ttl_s=60, timeout_s=0.5, environment={"PATH": "/usr/bin:/bin"})
    assert (await store.get(command("echo", "$HOME; echo owned"))).reveal() == b"$HOME; echo owned"
    for place in (
        command("false"),
        command("no-such-command"),
        command("sleep", "30"),
        command(sys.executable, "-c", "print('x' * 200_000)"),
        command("sh", "-c", "echo hidden-secret >&2; exit 3"),
    ):
        with pytest.raises(SecretUnavailableError) as failed:
            await store.get(place)
        assert "hidden" not in str(failed.value)


@pytest.mark.parametrize("source", ["file", "passphrase"])
async def test_local_keeps_values_encrypted_and_private(tmp_path, source):
    passphrase = Secret("p", "correct horse") if source == "passphrase" else None
    store = LocalStore(tmp_path / "home", passphrase)
    store.put({"github/token": VALUE, "other": b"other-secret-value"}, key_source=source)
    assert (await store.get("github/token")).reveal() == VALUE
    assert store.names() == ("github/token", "other")
    file = tmp_path / "home" / FILE
    assert VALUE not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    store.put({"github/token": b"a-rotated-secret"})
    assert (await store.get("github/token")).reveal() == b"a-rotated-secret"
    assert store.remove("other")
    assert not store.remove("other")
    with pytest.raises(SecretUnavailableError):
        await store.get("other")


async def test_p5_local_refuses_a_wrong_key_and_a_changed_store(tmp_path):
    home = tmp_path / "home"
    LocalStore(home).put({"a": VALUE, "b": b"other-secret-value"})
    document = json.loads((home / FILE).read_text())
    document["values"]["a"], document["values"]["b"] = document["values"]["b"], document["values"]["a"]
    (home / FILE).write_text(json.dumps(document))
    with pytest.raises(SecretUnavailableError):
        await LocalStore(home).get("a")
    (home / KEY_FILE).chmod(0o644)
    with pytest.raises(LocalStoreError, match="owner alone"):
        LocalStore(home).put({"c": VALUE})
    other = tmp_path / "other"
    LocalStore(other, Secret("p", "right one")).put({"a": VALUE}, key_source="passphrase")
    for passphrase in (None, Secret("p", "wrong one")):
        with pytest.raises(SecretUnavailableError):
            await LocalStore(other, passphrase).get("a")


async def test_a_secret_too_short_to_be_searched_for_is_refused():
    stores = SecretStores({"env": EnvStore({"A": "short"})})
    with pytest.raises(SecretUnavailableError, match="shorter"):
        await stores.get("env:A")
