"""`k8s:` and `keyring:`: real directories turned as the kubelet turns them, and a real keyring backend."""

from __future__ import annotations

import os
import threading

import keyring
import orjson
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from proxy.secretstore import SecretUnavailableError, bad_ref
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.secretstore.benches import SetClock


def mount(folder, version, **values):
    """A version of a mounted secret, put in force in one step."""
    directory = folder / f"..{version}"
    directory.mkdir(parents=True)
    for name, value in values.items():
        (directory / name).write_text(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(directory.name)
    os.replace(folder / "..data_tmp", folder / "..data")


def stores_of(folder, clock=None, **sections):
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": sections}))
    return secret_stores(settings, home=folder, environment={}, clock=clock or SetClock(), passphrase=None)


async def failure(stores, ref):
    with pytest.raises(SecretUnavailableError) as failed:
        await stores.get(ref)
    return str(failed.value)


async def test_a_mounted_secret_is_read_whole_and_its_swap_is_noticed(tmp_path):
    mount(tmp_path / "github", "one", token="value-number-one\n", user="user-number-one")
    stores = stores_of(tmp_path, k8s={"directory": str(tmp_path)})
    assert (await stores.get("k8s:github/token")).reveal() == b"value-number-one"
    mount(tmp_path / "github", "two", token="value-number-two", user="user-number-two")
    assert (await stores.get("k8s:github/user")).reveal() == b"user-number-two"
    assert (await stores.get("k8s:github/token")).reveal() == b"value-number-two"
    assert "no key" in await failure(stores, "k8s:github/other")
    assert "No such file" in await failure(stores, "k8s:gitlab/token")


async def test_p5_what_is_no_mounted_secret_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "token").write_text("value-from-outside")
    folder = tmp_path / "mounts" / "github"
    folder.mkdir(parents=True)
    stores = stores_of(tmp_path, k8s={"directory": str(tmp_path / "mounts")})
    (folder / "token").write_text("not-mounted-at-all")
    await failure(stores, "k8s:github/token")
    (folder / "..data").symlink_to(outside)
    assert "not a mounted secret" in await failure(stores, "k8s:github/token")
    (folder / "..data").unlink()
    (folder / "token").unlink()
    mount(folder, "big", token="x" * (1024 * 1024 + 1))
    assert "larger" in await failure(stores, "k8s:github/token")


def test_refs():
    good = ("k8s:github/token", "k8s:my.secret/tls.key", "keyring:github.com/me", "keyring:a service/a user/with slash")
    bad = (
        "k8s:github",
        "k8s:github/..data",
        "k8s:../x",
        "k8s:a/b/c",
        "k8s:Git/x",
        "keyring:x",
        "keyring:x/",
        "keyring:/x",
        "keyring:a/b\n",
    )
    assert [ref for ref in good if bad_ref(ref) is not None] == []
    assert [ref for ref in bad if bad_ref(ref) is None] == []


class InMemory(KeyringBackend):
    """A backend as a desktop has one, whose owner may take his time."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.values, self.asked, self.unlocked = {}, 0, threading.Event()
        self.locked = self.broken = False
        self.unlocked.set()

    def get_password(self, service, username):
        self.asked += 1
        self.unlocked.wait(5)
        if self.broken:
            raise LookupError("the-value-of-the-secret")  # as the bus of a desktop does
        if self.locked:
            raise KeyringLocked("the-value-of-the-secret")
        return self.values.get((service, username))

    def set_password(self, service, username, password):
        self.values[(service, username)] = password


@pytest.fixture
def backend():
    before = keyring.get_keyring()
    backend = InMemory()
    keyring.set_keyring(backend)
    yield backend
    backend.unlocked.set()
    keyring.set_keyring(before)


async def test_a_keyring_is_asked_and_what_it_says_is_kept(backend, tmp_path):
    keyring.set_password("github.com", "me", "the-value-of-the-secret")
    clock = SetClock()
    stores = stores_of(tmp_path, clock, keyring={"ttl_s": 60})
    for _ in range(3):
        assert (await stores.get("keyring:github.com/me")).reveal() == b"the-value-of-the-secret"
    assert backend.asked == 1
    assert "no such entry" in await failure(stores, "keyring:github.com/you")
    backend.locked = True
    clock.now_s += 61
    assert "the-value" not in await failure(stores, "keyring:github.com/me")


async def test_a_keyring_whose_backend_fails_in_its_own_way_is_asked_again(backend, tmp_path):
    keyring.set_password("github.com", "me", "the-value-of-the-secret")
    backend.broken = True
    clock = SetClock()
    stores = stores_of(tmp_path, clock, timeout_s=2)
    assert "cannot be read (LookupError)" in await failure(stores, "keyring:github.com/me")
    backend.broken = False
    clock.now_s += 6
    assert (await stores.get("keyring:github.com/me")).reveal() == b"the-value-of-the-secret"


async def test_p7_a_keyring_that_waits_for_its_owner_is_given_up_and_not_asked_again_meanwhile(backend, tmp_path):
    keyring.set_password("github.com", "me", "the-value-of-the-secret")
    backend.unlocked.clear()
    clock = SetClock()
    stores = stores_of(tmp_path, clock, timeout_s=0.2)
    assert "locked" in await failure(stores, "keyring:github.com/me")
    clock.now_s += 6
    assert "not yet answered" in await failure(stores, "keyring:github.com/me")
    assert backend.asked == 1
