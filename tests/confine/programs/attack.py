"""Tries every way out that we know of; prints what each gave, as a JSON object. Standard library only.

Arguments: the folder of the stage, its process id, and that of a process with a secret in its environment.
"""

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

FOLDER, STAGE, HOLDER = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
LIBC = ctypes.CDLL(None, use_errno=True)
said: dict[str, str] = {}


def way(name: str):
    def run(function):
        try:
            said[name] = str(function())
        except Exception as error:
            said[name] = type(error).__name__

    return run


def tcp(host: str, port: int) -> str:
    with contextlib.suppress(ConnectionResetError), socket.create_connection((host, port), timeout=3) as connection:
        connection.sendall(b"x")
        connection.recv(1)
    return "connected"


def udp(host: str, port: int, payload: bytes = b"x") -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.sendto(payload, (host, port))
    return "sent"


def unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.recv(1)
    return "connected"


def call(number: int, *arguments: int) -> str:
    us = os.getpid()
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if os.getpid() != us:
        os._exit(0)
    return "done" if result >= 0 else os.strerror(ctypes.get_errno())


def program(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return "done" if ended.returncode == 0 else f"refused {ended.returncode}"


def holds_the_secret(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return "in-its-environment" in path.read_text("latin-1")
    return False


def everywhere(again: str = "") -> None:
    for host in ("8.8.8.8", "169.254.169.254", "192.0.2.7", "2001:db8::7", "fd00:ec2::254", "::ffff:192.0.2.7"):
        for port in (22, 80, 443, 8443):
            way(f"tcp {host} {port}{again}")(lambda host=host, port=port: tcp(host, port))
        for port in (53, 123, 443):
            way(f"udp {host} {port}{again}")(lambda host=host, port=port: udp(host, port))
    for host in ("127.0.0.1", "127.0.0.53", "::1", "0.0.0.0", "::"):
        way(f"tcp {host} 443{again}")(lambda host=host: tcp(host, 443))
        way(f"udp {host} 53{again}")(lambda host=host: udp(host, 53))
        way(f"udp {host} 443{again}")(lambda host=host: udp(host, 443))


everywhere()
for name in ("state/control.sock", "elsewhere/docker.sock", "agent.sock"):
    way(f"unix {name}")(lambda name=name: unix(str(FOLDER / name)))
    for process in (STAGE, 1):
        way(f"unix {name} by {'the stage' if process == STAGE else 'init'}")(
            lambda name=name, process=process: unix(f"/proc/{process}/root{FOLDER / name}")
        )
way("unix abstract")(lambda: unix("\0control"))
way("state")((FOLDER / "state" / "receipts.sqlite").read_text)
way("file ref")(lambda: (FOLDER / "secret").read_text() or "empty")
way("environ of others")(lambda: "in-its-environment" in Path(f"/proc/{HOLDER}/environ").read_text())
way("environ of anybody")(lambda: any(map(holds_the_secret, Path("/proc").glob("[0-9]*/environ"))))
way("signal to others")(lambda: os.kill(STAGE, 0) or "done")
way("open files")(
    lambda: sorted(os.listdir("/proc/self/fd"))[:3] == ["0", "1", "2"] and len(os.listdir("/proc/self/fd"))
)
way("ptrace init")(lambda: call(101 if os.uname().machine == "x86_64" else 117, 16, 1, 0, 0))
way("memory of init")(lambda: os.open("/proc/1/mem", os.O_RDONLY) and "read")
way("files of init")(lambda: os.readlink("/proc/1/fd/0") and "read")

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
OPENED = f"os.setns(os.open('/proc/{STAGE}/ns/net', os.O_RDONLY), {CLONE_NEWNET})"
way("unshare user")(lambda: program(sys.executable, "-c", f"import os; os.unshare({CLONE_NEWUSER})"))
way("setns")(lambda: program(sys.executable, "-c", f"import os; {OPENED}"))
way("setns own")(lambda: program(sys.executable, "-c", f"import os; {OPENED.replace(str(STAGE), 'self')}"))
way("unshare program")(lambda: program("unshare", "-Urn", "true"))
way("nsenter program")(lambda: program("nsenter", "-t", str(STAGE), "-n", "true"))
way("clone with a user namespace")(
    lambda: call(56 if os.uname().machine == "x86_64" else 220, CLONE_NEWUSER | 17, 0, 0, 0, 0)
)
way("clone3")(lambda: call(435, 0, 0))
way("io_uring")(lambda: call(425, 1, 0))
way("keyctl")(lambda: call(250 if os.uname().machine == "x86_64" else 219, 0, -3, 0))
way("nft flush")(lambda: program("nft", "flush", "ruleset"))
way("nft list")(lambda: program("nft", "list", "ruleset"))
way("ip route")(lambda: program("ip", "route", "flush", "table", "local"))
way("ip link")(lambda: program("ip", "link", "add", "veth0", "type", "veth"))
way("briefcased rules")(lambda: __import__("proxy.confine.rules", fromlist=["x"]).install([]) or "done")
way("umount")(lambda: program("umount", str(FOLDER / "state")))
way("umount proc")(lambda: program("umount", "-l", "/proc"))
way("mount")(lambda: program("mount", "-t", "tmpfs", "x", "/mnt"))
way("core pattern")(lambda: open("/proc/sys/kernel/core_pattern", "w").close() or "done")
way("namespaces allowed")(lambda: open("/proc/sys/user/max_user_namespaces", "w").close() or "done")
way("raw socket")(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
way("packet socket")(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
way("ping socket")(
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).sendto(
        b"\x08\0\0\0\0\0\0\0", ("8.8.8.8", 0)
    )
)
way("vsock")(lambda: socket.socket(40, socket.SOCK_STREAM))
way("bluetooth")(lambda: socket.socket(31, socket.SOCK_RAW, 1))
way("setuid program")(lambda: program("su", "-c", "true", "nobody") if os.getuid() else "refused")
everywhere(" again")
print(json.dumps(said))
