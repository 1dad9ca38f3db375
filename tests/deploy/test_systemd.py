"""The units under systemd's own judgement, and `briefcased up` towards a service manager that we play."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx
import pytest
import yaml

from proxy.notify import Notifier
from tests.deploy.manifests import ROOT
from tests.rig.process import HOST, configured

UNITS = ROOT / "deploy" / "systemd"
MOST_EXPOSURE = 2.0


def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def exposure(unit):
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


def test_the_service_is_exposed_to_little():
    assert exposure(UNITS / "briefcased.service") < MOST_EXPOSURE


def test_the_service_may_do_what_its_libraries_need():
    unit = (UNITS / "briefcased.service").read_text()
    assert "\nMemoryDenyWriteExecute=yes" not in unit, "under it every TLS handshake fails: cffi cannot make a callback"
    assert "\nPrivateUsers=yes" not in unit, "under it the peer of a unix socket is nobody"


def test_exposure_tells_a_hardened_unit_from_another(tmp_path):
    bare = tmp_path / "briefcased.service"
    kept = [
        line
        for line in (UNITS / "briefcased.service").read_text().splitlines()
        if not re.match(r"(Protect|Capability|System)", line)
    ]
    bare.write_text("\n".join(kept))
    assert exposure(bare) > MOST_EXPOSURE


def test_systemd_understands_every_line(tmp_path):
    program = tmp_path / "briefcased"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("briefcased.service", "briefcased.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/bin/briefcased", str(program)))
    done = analyze("verify", "--man=no", str(tmp_path / "briefcased.service"), str(tmp_path / "briefcased.socket"))
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line and "notify-reload" not in line]
    assert said == [], "systemd before 253 does not know notify-reload; nothing else may be said"


class Manager:
    """The end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    async def told(self, wanted):
        """Every message up to the first that has this line."""
        seen = []
        async with asyncio.timeout(30):
            while not seen or wanted not in seen[-1]:
                seen.append((await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode().split("\n"))
        return seen

    def close(self):
        self._socket.close()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract name"])
async def test_a_manager_is_told(tmp_path, abstract):
    name = f"@briefcased-{tmp_path.name}-{time.monotonic_ns()}" if abstract else str(tmp_path / "n")
    manager = Manager("\0" + name[1:] if abstract else name)
    notifier = Notifier(name, 20_000)
    notifier.ready("configuration 1 is in force")
    assert await manager.told("READY=1") == [["READY=1", "STATUS=configuration 1 is in force"]]
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    ((_, stamp),) = await manager.told("RELOADING=1")
    assert before_us <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= before_us + 5_000_000
    async with asyncio.TaskGroup() as group:
        alive = group.create_task(notifier.stay_alive())
        for _ in range(3):
            assert await manager.told("WATCHDOG=1") == [["WATCHDOG=1"]]
        alive.cancel()
    manager.close()
    notifier.stopping()  # nobody listens any more: no error


async def test_without_a_manager_nothing_is_said_and_nothing_waits():
    silent = Notifier(None, None)
    silent.ready("x")
    await asyncio.wait_for(silent.stay_alive(), 1)


@pytest.mark.slow
async def test_up_tells_its_manager_the_truth(tmp_path):
    manager = Manager(str(tmp_path / "n"))
    async with configured(tmp_path) as up:
        up.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "up", "--config", str(up.config),
            env={**up.environment, "NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "200000"},
            stderr=(tmp_path / "log").open("ab"),
        )  # fmt: skip
        seen = await manager.told("READY=1")
        assert seen[-1] == ["READY=1", "STATUS=configuration 1 is in force"]
        await manager.told("WATCHDOG=1")
        up.process.send_signal(signal.SIGHUP)
        await manager.told("RELOADING=1")
        assert (await manager.told("READY=1"))[-1][1] == "STATUS=configuration 2 is in force"
        up.config.write_text("version: 2\n")
        up.process.send_signal(signal.SIGHUP)
        await manager.told("RELOADING=1")
        assert (await manager.told("READY=1"))[-1][1] == "STATUS=configuration 2 is in force", "the old one stays"
        up.process.send_signal(signal.SIGTERM)
        await manager.told("STOPPING=1")
        assert await asyncio.wait_for(up.process.wait(), 30) == 0
    manager.close()


@pytest.mark.slow
async def test_the_socket_holds_a_connection_until_the_sidecar_takes_it(tmp_path):
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("there is no systemd-socket-activate here")
    name = re.search(r"^FileDescriptorName=(.*)$", (UNITS / "briefcased.socket").read_text(), re.MULTILINE)[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with configured(tmp_path) as up:
        data = yaml.safe_load(up.config.read_text())
        up.config.write_text(yaml.safe_dump({**data, "listeners": {**data["listeners"], "proxy": f"systemd:{name}"}}))
        kept = [f"--setenv={variable}" for variable in up.environment]
        up.process = await asyncio.create_subprocess_exec(
            "systemd-socket-activate", f"--listen=127.0.0.1:{port}", f"--fdname={name}", *kept,
            sys.executable, "-m", "proxy", "up", "--config", str(up.config),
            env=up.environment, stderr=(tmp_path / "log").open("ab"),
        )  # fmt: skip
        bundle = tmp_path / "bundle.pem"
        made = await asyncio.to_thread(up.command, "ca", "bundle", "--output", str(bundle))
        assert made.returncode == 0, made.stderr
        assert not (up.home / "sidecar.json").exists(), "nothing runs before the first connection"
        trust = ssl.create_default_context(cafile=str(bundle))
        proxy = f"http://agent:{up.token}@127.0.0.1:{port}"
        async with httpx.AsyncClient(proxy=proxy, verify=trust, timeout=60, trust_env=False) as client:
            assert (await client.get(f"https://{HOST}:{up.provider.port}/v1/things/1")).status_code == 200
        assert await up.kill(signal.SIGTERM) == 0, (tmp_path / "log").read_text()


@pytest.mark.slow
async def test_every_system_call_that_it_makes_is_allowed(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    permitted = calls_of("@system-service")
    unit = (UNITS / "briefcased.service").read_text()
    for group in re.search(r"^SystemCallFilter=~(.*)$", unit, re.MULTILINE)[1].split():
        permitted -= calls_of(group)
    async with configured(tmp_path) as up:
        trace = tmp_path / "trace"
        up.process = await asyncio.create_subprocess_exec(
            "strace", "-f", "-c", "-U", "name", "-o", str(trace),
            sys.executable, "-m", "proxy", "up", "--config", str(up.config),
            env=up.environment, stderr=(tmp_path / "log").open("ab"),
        )  # fmt: skip
        async with asyncio.timeout(120):
            while not (up.home / "sidecar.json").exists():
                await asyncio.sleep(0.1)
        up.state = json.loads((up.home / "sidecar.json").read_text())
        trust = ssl.create_default_context(cafile=str(up.home / "ca-bundle.pem"))
        proxy = f"http://agent:{up.token}@{up.state['proxy']}"
        async with httpx.AsyncClient(proxy=proxy, verify=trust, timeout=60, trust_env=False) as client:
            assert (await client.get(f"https://{HOST}:{up.provider.port}/v1/things/1")).status_code == 200
        os.kill(up.state["pid"], signal.SIGTERM)
        assert await asyncio.wait_for(up.process.wait(), 60) == 0
    made = set(re.findall(r"^([a-z]\w+)$", trace.read_text(), re.MULTILINE)) - {"syscall", "total"}
    assert {"accept4", "connect", "fdatasync"} <= made, "the list is that of a sidecar at work"
    assert made - permitted <= {"fchown"}, "SQLite calls fchown as root only, and goes on where it fails"


def calls_of(group):
    """Every system call of a group, and of the groups in it."""
    found = set()
    for word in (line.strip() for line in analyze("syscall-filter", group).stdout.splitlines()):
        if word.startswith("@") and word != group:
            found |= calls_of(word)
        elif re.fullmatch(r"[a-z_]\w*", word):
            found.add(word)
    return found


def test_the_drop_in_for_older_ones_replaces_the_type(tmp_path):
    drop_in = (UNITS / "briefcased.service.d" / "before-253.conf").read_text()
    assert re.findall(r"^(Type|ExecReload)=(.*)$", drop_in, re.MULTILINE) == [
        ("Type", "notify"), ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ]  # fmt: skip
