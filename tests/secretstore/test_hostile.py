"""P5: a store that is broken, hostile or slow gives no secret, says why, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from proxy.clock import SystemClock
from proxy.secret import Secret
from proxy.secretstore import SecretStores, SecretUnavailableError, bad_ref
from proxy.secretstore.command import MAX_BYTES
from proxy.secretstore.env import EnvStore
from proxy.secretstore.exec import ExecStore
from proxy.secretstore.file import MAX_BYTES as MAX_FILE_BYTES
from proxy.secretstore.file import FileStore
from proxy.secretstore.local import FILE, KEY_FILE, LocalStore, LocalStoreError

VALUE = b"the-value-of-the-secret"
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    "ref",
    [
        "file:/a\0b", 'exec:["a\\u0000b"]', 'exec:["echo",""]', 'exec:"pass"', "exec:[[]]", "exec:null", "exec:[", "local:", "local:../x", "local:A",
        "local:a\n", "local:" + "a" * 129, "env:A=B", "env:1A", "env:A\n", "ENV:A", " env:A", "file:", "://", "env", "keyring:x", "file://host/x"[:5] + "x",
    ],
)  # fmt: skip
def test_refs_that_no_store_takes(ref):
    assert bad_ref(ref) is not None


async def test_the_environment_may_hold_bytes_that_are_no_text():
    store = EnvStore({"ODD": os.fsdecode(b"\xff\xfe-secret"), "GOOD": VALUE.decode()})
    assert (await store.get("ODD")).reveal() == b"\xff\xfe-secret"
    assert (await store.get("GOOD")).reveal() == VALUE


def exec_store(timeout_s=5.0, ttl_s=60.0):
    return ExecStore(clock=SystemClock(), ttl_s=ttl_s, timeout_s=timeout_s, environment=ENVIRONMENT)


async def failure(store, place):
    with pytest.raises(SecretUnavailableError) as failed:
        await store.get(place)
    return failed.value.reason


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["sh", "-c", "echo the-value-of-the-secret; exit 1"], "sh ended with 1"),
        (["true"], "ended with 0 and 0 bytes"),
        (["sh", "-c", "kill -9 $$"], "ended with -9"),
        (["/"], "Permission denied"),
        (["/no/such/command"], "No such file"),
    ],
)
async def test_p5_a_command_that_fails_gives_nothing_and_does_not_quote(command, reason):
    told = await failure(exec_store(), json.dumps(command))
    assert reason in told
    assert "the-value" not in told


async def test_p7_a_command_that_never_stops_writing_is_ended_at_once():
    started = time.monotonic()
    told = await failure(exec_store(timeout_s=60), json.dumps([sys.executable, "-c", "while True: print('y' * 1000)"]))
    assert f"{MAX_BYTES + 1} bytes" in told
    assert time.monotonic() - started < 5


def has_ended(pid):
    """Whether the process is gone, or dead and not yet waited for, within 2 s."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


async def test_p7_a_command_that_hangs_is_ended(tmp_path):
    pid = tmp_path / "pid"
    told = await failure(exec_store(timeout_s=0.3), json.dumps(["sh", "-c", f"echo $$ > {pid}; exec sleep 60"]))
    assert told == "sh took longer than 0.3 s"
    assert has_ended(int(pid.read_text()))


async def test_p7_a_command_that_leaves_its_process_group_is_ended():
    script = "import os, time; os.fork() and os.setpgid(0, os.getpgid(os.getppid())); time.sleep(60)"
    started = time.monotonic()
    told = await failure(exec_store(timeout_s=0.5), json.dumps([sys.executable, "-c", script]))
    assert "longer than" in told
    assert time.monotonic() - started < 5


async def test_p7_what_a_command_has_started_ends_with_it(tmp_path):
    pid = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid}; wait"
    assert "longer than" in await failure(exec_store(timeout_s=0.3), json.dumps(["sh", "-c", script]))
    assert has_ended(int(pid.read_text()))


async def test_p7_commands_that_write_too_much_or_leave_somebody_behind_hold_no_descriptor(tmp_path):
    pid = tmp_path / "pid"
    noisy, left = [sys.executable, "-c", "print('y' * 3_000_000)"], f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' &"
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()  # which would close them at some time
    try:
        assert "bytes" in await failure(exec_store(), json.dumps(noisy))
        assert "longer than" in await failure(exec_store(timeout_s=0.3), json.dumps(["sh", "-c", left]))
        await asyncio.sleep(0)  # the loop closes what is to be closed in its next round
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_p7_a_failing_command_is_run_once_for_all_who_wait(tmp_path):
    log, store = tmp_path / "log", exec_store()
    place = json.dumps(["sh", "-c", f"echo ran >> {log}; sleep 0.1; exit 1"])
    told = await asyncio.gather(*(store.get(place) for _ in range(20)), return_exceptions=True)
    assert {str(each) for each in told} == {"exec: secret unavailable: sh ended with 1 and 0 bytes"}
    assert log.read_text() == "ran\n"
    await failure(store, place)
    assert log.read_text() == "ran\nran\n"


async def test_a_failure_is_not_kept(tmp_path):
    store, flag = exec_store(), tmp_path / "flag"
    place = json.dumps(["cat", str(flag)])
    await failure(store, place)
    flag.write_bytes(VALUE)
    assert (await store.get(place)).reveal() == VALUE


async def test_with_no_time_to_live_every_use_asks_again(tmp_path):
    store, flag = exec_store(ttl_s=0), tmp_path / "flag"
    for value in (b"the-first-value", b"the-second-value"):
        flag.write_bytes(value)
        assert (await store.get(json.dumps(["cat", str(flag)]))).reveal() == value


async def test_p5_only_regular_files_of_a_sane_size_hold_secrets(tmp_path):
    store = FileStore()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (
        "/dev/zero",
        "/dev/stdin",
        str(tmp_path),
        str(tmp_path / "pipe"),
        str(tmp_path / "large"),
        str(tmp_path / "loop"),
    ):
        await failure(store, place)
    (tmp_path / "real").write_bytes(VALUE)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert (await store.get(str(tmp_path / "link"))).reveal() == VALUE


async def test_p7_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(VALUE)
    opened = os.open

    def swapped(place, *more):
        if os.fspath(place) == str(path):
            path.unlink()
            os.mkfifo(path)
        return opened(place, *more)

    monkeypatch.setattr(os, "open", swapped)
    assert "not a regular file" in await failure(FileStore(), str(path))


async def test_a_symlink_that_is_turned_is_a_rotation(tmp_path):
    """As Kubernetes rotates mounted secrets."""
    (tmp_path / "one").write_bytes(b"value-number-one")
    (tmp_path / "two").write_bytes(b"value-number-two")
    link, store = tmp_path / "link", FileStore()
    link.symlink_to("one")
    assert (await store.get(str(link))).reveal() == b"value-number-one"
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    assert (await store.get(str(link))).reveal() == b"value-number-two"


async def test_p5_a_secret_that_shrank_below_what_can_be_searched_for_is_refused(tmp_path):
    path, stores = tmp_path / "s", SecretStores({"file": FileStore()})
    for content, accepted in (
        (b"12345678", True),
        (b"1234567", False),
        (b"1234567\n", False),
        (b"", False),
        (b"\n\n", False),
        (VALUE, True),
    ):
        path.write_bytes(content)
        if accepted:
            assert (await stores.get(f"file:{path}")).reveal() == content
        else:
            with pytest.raises(SecretUnavailableError):
                await stores.get(f"file:{path}")


def store_in(home, **values):
    store = LocalStore(home)
    store.put(values or {"a": VALUE})
    return home / FILE


def damaged(document):
    """Every way in which one thing of the document is missing, of another type, or changed."""
    for key in ("version", "key", "check", "values"):
        yield {k: v for k, v in document.items() if k != key}
        for wrong in (None, 0, 2, "x", [], {}, [{}], {"a": "x"}, {"a": {"key": "!", "value": "!"}}):
            yield {**document, key: wrong}
    sealed = document["values"]["a"]
    for part in ("key", "value"):
        raw = bytearray(base64.b64decode(sealed[part]))
        for at in (0, len(raw) // 2, len(raw) - 1):
            changed = bytearray(raw)
            changed[at] ^= 1
            yield {**document, "values": {"a": {**sealed, part: base64.b64encode(changed).decode()}}}
        yield {**document, "values": {"a": {**sealed, part: base64.b64encode(raw[:-1]).decode()}}}
        yield {**document, "values": {"a": {**sealed, part: ""}}}
        yield {**document, "values": {"a": {**sealed, part: 5}}}


async def test_p5_a_damaged_local_store_gives_nothing_and_says_so(tmp_path):
    file = store_in(tmp_path)
    original = json.loads(file.read_text())
    harmless = [{**original, "version": 1}]
    count = 0
    for document in damaged(original):
        if document in harmless:
            continue
        file.write_text(json.dumps(document))
        with pytest.raises(SecretUnavailableError) as failed:
            await LocalStore(tmp_path).get("a")
        assert VALUE.decode() not in str(failed.value)
        count += 1
    assert count > 40
    for text in ("", "[]", "null", "{", "1", '"x"'):
        file.write_text(text)
        with pytest.raises(SecretUnavailableError):
            await LocalStore(tmp_path).get("a")
        with pytest.raises(LocalStoreError):
            LocalStore(tmp_path).put({"b": VALUE})
    file.write_text(json.dumps(original))
    assert (await LocalStore(tmp_path).get("a")).reveal() == VALUE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff\xfe",
        b"!" * 44,
        base64.b64encode(b"k" * 16),
        base64.b64encode(b"k" * 33),
        base64.b64encode(b"k" * 32),
    ],
)
async def test_p5_a_key_file_that_is_none_opens_nothing(tmp_path, content):
    store_in(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(SecretUnavailableError):
        await LocalStore(tmp_path).get("a")
    with pytest.raises(LocalStoreError):
        LocalStore(tmp_path).put({"b": VALUE})


async def test_p5_an_existing_key_file_that_is_none_makes_no_new_store(tmp_path):
    (tmp_path / KEY_FILE).write_bytes(b"rubbish")
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(LocalStoreError):
        LocalStore(tmp_path).put({"a": VALUE})
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("change", [{"n": 1}, {"n": 3}, {"n": "x"}, {"salt": "!"}, {"salt": None}, {"n": 2}])
async def test_p5_changed_scrypt_parameters_open_nothing(tmp_path, change):
    store = LocalStore(tmp_path, Secret("p", "correct horse"))
    store.put({"a": VALUE}, key_source="passphrase")
    document = json.loads((tmp_path / FILE).read_text())
    document["key"].update(change)
    (tmp_path / FILE).write_text(json.dumps(document))
    with pytest.raises(SecretUnavailableError):
        await LocalStore(tmp_path, Secret("p", "correct horse")).get("a")


async def test_p5_a_value_cannot_take_the_name_of_another(tmp_path):
    file = store_in(tmp_path, a=VALUE, b=b"the-value-of-the-other")
    document = json.loads(file.read_text())
    for name in ("b", "check"):
        moved = json.loads(json.dumps(document))
        moved["values"]["a"] = document["values"].get(name, document["check"])
        file.write_text(json.dumps(moved))
        with pytest.raises(SecretUnavailableError):
            await LocalStore(tmp_path).get("a")


async def test_equal_values_are_sealed_differently_and_every_write_anew(tmp_path):
    file = store_in(tmp_path, a=VALUE, b=VALUE)
    first = json.loads(file.read_text())["values"]
    assert len({first["a"]["value"], first["b"]["value"], first["a"]["key"], first["b"]["key"]}) == 4
    LocalStore(tmp_path).put({"a": VALUE})
    assert json.loads(file.read_text())["values"]["a"] != first["a"]


def test_bad_names_and_sources_change_nothing(tmp_path):
    for values, source in (
        ({"A": VALUE}, "file"),
        ({"": VALUE}, "file"),
        ({"a": VALUE, "B b": VALUE}, "file"),
        ({"a": VALUE}, "magic"),
        ({"a": VALUE}, "passphrase"),
    ):
        with pytest.raises(LocalStoreError):
            LocalStore(tmp_path).put(values, key_source=source)
        assert not (tmp_path / FILE).exists()
    assert LocalStore(tmp_path).names() == ()
    assert not LocalStore(tmp_path).remove("a")


def test_no_file_of_the_store_is_for_others(tmp_path):
    old = os.umask(0)
    try:
        store_in(tmp_path / "new" / "home")
    finally:
        os.umask(old)
    assert {
        p.name: p.stat().st_mode & 0o077 for p in (tmp_path / "new" / "home").iterdir() if p.name != "secrets.lock"
    } == {FILE: 0, KEY_FILE: 0}
    assert (tmp_path / "new" / "home").stat().st_mode & 0o077 == 0
