"""What a confined program's connections become, with clients that have no proxy settings."""

from __future__ import annotations

import socket
import sys

import pytest

PYTHON = "import urllib.request; print(urllib.request.urlopen('http://api.example.test:8000/').read().decode())"
NODE = "fetch('http://api.example.test:8000/').then(r => r.text()).then(t => console.log(t))"
NODE_HTTP = "require('http').get('http://api.example.test:8000/', r => r.on('data', d => console.log(String(d))))"


@pytest.mark.parametrize(
    "command",
    [
        ["curl", "-sS", "http://api.example.test:8000/"],
        [sys.executable, "-c", PYTHON],
        ["node", "-e", NODE],
        ["node", "-e", NODE_HTTP],
    ],
    ids=["curl", "python", "node fetch", "node http"],
)
async def test_the_name_that_was_asked_for_arrives(confined, command):
    ran = await confined.run(*command)
    assert ran.code == 0, ran.err
    name, address, port = ran.out.split()
    assert (name, port) == ("api.example.test", "8000")
    assert address.startswith("198.18.")


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("http://192.0.2.7/", ("192.0.2.7", 80)),
        ("http://192.0.2.7:8443/", ("192.0.2.7", 8443)),
        ("http://169.254.169.254/", ("169.254.169.254", 80)),
        ("http://198.18.5.5/", ("198.18.5.5", 80)),
        ("http://[2001:db8::7]:99/", ("2001:db8::7", 99)),
        ("http://[fe80::7]/", None),
    ],
)
async def test_an_address_that_was_never_given_has_no_name(confined, url, destination):
    ran = await confined.run("curl", "-sS", "-g", "--max-time", "5", url)
    seen = [(origin.destination, origin.name) for origin in confined.sidecar.origins]
    assert seen == ([] if destination is None else [(destination, None)]), ran.err


async def test_resolving_by_hand_keeps_the_name(confined):
    """A client that resolves first and connects to the address, as every one does in the end."""
    ran = await confined.run(sys.executable, "-c", """
import socket
for family in (socket.AF_INET, socket.AF_UNSPEC):
    info = socket.getaddrinfo("One.Example.test", 80, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    print(info[0][4][0], len(info))
s = socket.create_connection((info[0][4][0], 80)); s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n"); print(s.recv(999).decode())
""")  # fmt: skip
    assert ran.code == 0, ran.err
    assert [origin.name for origin in confined.sidecar.origins] == ["one.example.test"]
    assert ran.lines[0] == ran.lines[1]


async def test_loopback_is_its_own_and_the_machines_is_not_there(confined):
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        ran = await confined.run(sys.executable, "-c", f"""
import socket
with socket.create_server(("127.0.0.1", 0)) as own:
    socket.create_connection(own.getsockname()).close()
    print("own")
try:
    socket.create_connection(("127.0.0.1", {port}))
except ConnectionRefusedError:
    print("refused")
try:
    print(socket.create_connection(("127.0.0.1", 61080)).recv(1))
except ConnectionResetError:
    print("reset")
""")  # fmt: skip
    assert ran.lines == ["own", "refused", "reset"], ran.err
    assert confined.sidecar.origins == []


async def test_a_long_stream_goes_both_ways_with_half_close(confined):
    size = 8 * 1024 * 1024
    ran = await confined.run(sys.executable, "-c", f"""
import hashlib, os, socket, threading
s = socket.create_connection(("echo.test", 7))
data = os.urandom({size})
def send():
    s.sendall(data); s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
back = b"".join(iter(lambda: s.recv(65536), b""))
print(len(back), back == data)
""")  # fmt: skip
    assert ran.out.split() == [str(size), "True"], ran.err


async def test_without_a_sidecar_nothing_is_reached(confined):
    (confined.sidecar.folder / "confined.sock").unlink()
    ran = await confined.run("curl", "-sS", "http://api.example.test/")
    assert ran.code in (7, 56), ran.err  # reset, before or after the client knows that it is connected


async def test_udp_goes_nowhere_but_to_the_stub(confined):
    ran = await confined.run(sys.executable, "-c", """
import socket
for host, port in (("192.0.2.7", 443), ("192.0.2.7", 123), ("2001:db8::7", 443)):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.connect((host, port))
    try:
        s.send(b"x"); print(s.recv(10))
    except OSError as error:
        print(type(error).__name__)
""")  # fmt: skip
    assert ran.lines == ["PermissionError"] * 3, ran.err
