"""The confined program as a process: its exit, its signals, its terminal, and that nothing outlives anything."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.confine.conftest import ROOT, STARTER
from tests.rig.program import ended


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL, ""),
        (["no-such-command-anywhere"], 127, "briefcased: no-such-command-anywhere: command not found\n"),
        (["/dev/null"], 126, "briefcased: /dev/null: Permission denied\n"),
        (["sh", "-c", "kill -PIPE $$; exit 9"], 128 + signal.SIGPIPE, ""),
    ],
    ids=["its own", "after a signal", "unknown", "not executable", "after SIGPIPE"],
)
async def test_the_exit_code_is_the_programs(confined, command, code, says):
    ran = await confined.run(*command)
    assert (ran.code, ran.err) == (code, says)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
async def test_signals_reach_the_program(confined, number):
    script = f"trap 'echo got; exit 42' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.05; done"
    process = await confined.start("sh", "-c", script)
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    process.send_signal(number)
    ran = await ended(process)
    assert (ran.code, ran.out) == (42, "got\n"), ran.err


async def test_an_ordinary_user_stays_who_it_is(confined):
    ordinary = replace(confined, before=("unshare", "-U", "--map-user=1000", "--map-group=1000"))
    ran = await ordinary.run("sh", "-c", "id -u; curl -sS http://api.example.test/ && grep -h ^Cap /proc/self/status")
    assert ran.code == 0, ran.err
    assert ran.lines[0] == "1000"
    assert ran.lines[1].startswith("api.example.test 198.18.0.16 80Cap")
    assert {line.split()[1] for line in ran.lines[2:]} == {"0000000000000000"}


async def test_where_namespaces_are_forbidden_nothing_is_started(confined):
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    forbidden = replace(confined, before=("unshare", "-Ur", "sh", "-c", forbid, "sh"))
    ran = await forbidden.run("echo", "started")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("briefcased: this system does not let you make namespaces (")
    assert ran.err.endswith(": user.max_user_namespaces is 0\n")


async def test_where_proc_is_partly_covered_the_old_one_stays_and_is_closed(confined):
    cover = 'mount -t tmpfs none /proc/bus; exec "$@"'
    covered = replace(confined, before=("unshare", "-Urm", "sh", "-c", cover, "sh"))
    ran = await covered.run("sh", "-c", f"curl -sS http://a.test/; cat /proc/{os.getpid()}/environ")
    assert ran.out == "a.test 198.18.0.16 80", ran.err
    assert "Permission denied" in ran.err


def running(text: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    if text.encode() in file.read():
                        found.append(int(name))
            except OSError:
                pass
    return found


async def gone(text: str) -> None:
    async with asyncio.timeout(15):
        while running(text):  # another process's end is no event of ours
            await asyncio.sleep(0.02)


async def test_nothing_that_the_program_started_outlives_it(confined):
    mark = f"987{os.getpid()}1"
    ran = await confined.run(
        "sh", "-c", f"setsid sleep {mark} >/dev/null 2>&1 & (sleep {mark} >/dev/null 2>&1 &); exit 3"
    )
    assert ran.code == 3, ran.err
    assert running(mark) == []


async def test_the_program_ends_with_the_forwarder(confined):
    mark = f"987{os.getpid()}2"
    process = await confined.start("sh", "-c", f"echo ready; sleep {mark}; true")
    await asyncio.wait_for(process.stdout.readline(), 20)
    assert running(mark)
    process.kill()
    await process.wait()
    await gone(mark)


async def test_all_end_with_the_sidecar(tmp_path):
    """The one that starts them is killed: here a process in its place."""
    mark = f"987{os.getpid()}3"
    parent = f"""
import os, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from proxy.confine.plan import Plan
fd = Plan(["sh", "-c", "echo ready; sleep {mark}; true"], dict(os.environ), "/nowhere", [], os.getpid()).offered()
subprocess.run([*{STARTER!r}, str(fd)], pass_fds=(fd,), env={{"PYTHONPATH": {str(ROOT)!r}}})
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    assert running(mark)
    process.kill()
    await process.wait()
    await gone(mark)


async def test_the_program_has_the_terminal(confined):
    """An interactive shell with job control, and Ctrl-C that reaches only what runs in the foreground."""
    ours, theirs = pty.openpty()
    from proxy.confine.plan import Plan

    environment = {"PATH": os.environ["PATH"], "PS1": "$ ", "HOME": str(confined.home), "TERM": "dumb"}
    command = ["bash", "--norc", "--noprofile", "-i"]
    descriptor = Plan(command, environment, confined.sidecar.path, [], os.getpid()).offered()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TERMINAL, *STARTER, str(descriptor), pass_fds=(descriptor,), cwd=confined.home,
        stdin=theirs, stdout=theirs, stderr=theirs, env={"PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.close(descriptor)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0, closefd=False)
    )

    async def after(typed: bytes, said: bytes) -> bytes:
        os.write(ours, typed)
        return await asyncio.wait_for(reader.readuntil(said), 20)

    await after(b"tty -s && echo is-a-$((1+1))-tty\n", b"is-a-2-tty")
    os.write(ours, b"sh -c 'echo be$((1+1))gun; exec sleep 9876'\n")
    await asyncio.wait_for(reader.readuntil(b"be2gun"), 20)
    await after(b"\x03", b"$ ")
    await after(b"echo code-$((100+30))-$?\n", b"code-130-130")
    await after(b"sleep 9876 & jobs\n", b"Running")
    await after(b"python3 -c \"import fcntl; fcntl.ioctl(0, 0x5412, b'x')\"\n", b"PermissionError: [Errno 1]")
    os.write(ours, b"exit 5\n")
    assert await asyncio.wait_for(process.wait(), 20) == 5
    os.close(ours)


TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import proxy.confine.plan
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_the_trust_bundle_and_a_temporary_directory_below_run_stay(confined, tmp_path):
    """Some systems set TMPDIR below /run: then the roots that the program must trust would be hidden with the sockets."""
    try:
        folder = Path(tempfile.mkdtemp(dir="/run"))
    except OSError:
        pytest.skip("/run cannot be written")
    try:
        (folder / "b").mkdir()
        (folder / "b" / "ca.pem").write_text("ROOTS")
        (folder / "other").write_text("SECRET")
        script = f"cat {folder}/b/ca.pem {folder}/other; mktemp"
        ran = await confined.run("sh", "-c", script, SSL_CERT_FILE=f"{folder}/b/ca.pem", TMPDIR=str(folder))
        assert ran.out.startswith(f"ROOTS{folder}/tmp."), ran.err
    finally:
        shutil.rmtree(folder)
