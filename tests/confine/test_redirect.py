"""`briefcased redirect`: what it prints is what it does, and what it does."""

from __future__ import annotations

import shutil
import sys

import pytest

from proxy.confine import rules
from tests.confine.conftest import ROOT
from tests.rig.program import clean_environment, ended, started

VARIANTS = [
    {"tcp_port": 8444},
    {"tcp_port": 8444, "dns_port": 8053, "except_uid": 10001},
    {"tcp_port": 8444, "dns_port": 8053, "lock": False},
]
SAME = """
import subprocess, sys
from proxy.confine import rules
chains = rules.ruleset(**{variant!r})
def listed(): return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
rules.install(rules.ruleset(tcp_port=1))  # replaced whole
rules.install(chains)
ours = listed()
subprocess.run(["nft", "-f", "-"], input=rules.as_text(chains), check=True, text=True)
assert ours == listed() and "redirect to :8444" in ours, (ours, listed())
"""
WORLD = """
import os, socket, subprocess, sys, threading
run = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True)
run("ip", "link", "set", "lo", "up")
run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
run("ip", "link", "set", "two", "up")
run("ip", "address", "add", "192.0.2.1/24", "dev", "one")
run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "one", "nodad")
run("ip", "link", "set", "one", "up")
run("ip", "route", "add", "default", "via", "192.0.2.2")
from proxy.confine import rules
rules.install(rules.ruleset(tcp_port=8444, except_uid=1))
from proxy.confine.redirected import dialled
seen = []
def serve(server):
    while True:
        connection, _ = server.accept()
        seen.append(dialled(connection))
        connection.close()
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    threading.Thread(target=serve, args=(socket.create_server((host, 8444), family=family),), daemon=True).start()
own = socket.create_server(("127.0.0.1", 0))
def tcp(host, port):
    s = socket.create_connection((host, port), timeout=5); s.recv(1) if port != own.getsockname()[1] else None
def tried(function, *arguments):
    try: function(*arguments); return "passed"
    except OSError as error: return type(error).__name__
def udp(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s: s.sendto(b"x", (host, port))
def ping():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).sendto(b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0", ("192.0.2.9", 0))
print("tcp", tried(tcp, "192.0.2.9", 443), tried(tcp, "169.254.169.254", 80), tried(tcp, "2001:db8::9", 443))
print("own", tried(tcp, *own.getsockname()))
print("udp", tried(udp, "192.0.2.9", 443), tried(udp, "192.0.2.9", 53), tried(udp, "169.254.169.254", 123), tried(udp, "2001:db8::9", 443))
print("ping", tried(ping))
print("loopback udp", tried(udp, "127.0.0.1", 9))
print(sorted(seen))
"""


def world(*command: str) -> tuple[str, ...]:
    return ("unshare", "-Urn", "--map-root-user", *command)


async def ran(folder, *command):
    environment = {**clean_environment(folder), "PYTHONPATH": str(ROOT), "BRIEFCASED_HOME": str(folder)}
    return await ended(await started(*command, env=environment, cwd=folder), limit_s=60)


@pytest.mark.skipif(shutil.which("nft") is None, reason="no nft to compare with")
@pytest.mark.parametrize("variant", VARIANTS, ids=["port", "all", "no lock"])
async def test_what_is_printed_is_what_is_done(tmp_path, variant):
    done = await ran(tmp_path, *world(sys.executable, "-c", SAME.format(variant=variant)))
    assert done.code == 0, done.err


async def test_tcp_arrives_at_the_port_and_nothing_else_leaves(tmp_path):
    done = await ran(tmp_path, *world(sys.executable, "-c", WORLD))
    assert done.code == 0, done.err
    assert done.lines == [
        "tcp passed passed passed",
        "own passed",
        "udp PermissionError PermissionError PermissionError PermissionError",
        "ping PermissionError",
        "loopback udp passed",
        "[('169.254.169.254', 80), ('192.0.2.9', 443), ('2001:db8::9', 443)]",
    ]


async def test_a_dry_run_prints_and_needs_no_right(tmp_path):
    done = await ran(
        tmp_path, sys.executable, "-m", "proxy", "redirect", "--to", "8444", "--dns-port", "53", "--dry-run"
    )
    assert done.code == 0, done.err
    assert done.out == rules.as_text(rules.ruleset(tcp_port=8444, dns_port=53))


async def test_without_the_right_it_says_so(tmp_path):
    install = "from proxy.confine import rules; rules.install(rules.ruleset(tcp_port=8444))"
    done = await ran(tmp_path, "unshare", "-U", "--map-user=1000", sys.executable, "-c", install)
    assert done.err.endswith("ConfineError: the kernel does not take nf_tables rules: Operation not permitted\n")
