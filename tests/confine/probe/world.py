"""The outside world of a stage: owns public addresses, answers, and counts every packet that reaches it.

Started inside its network namespace; prints `ready`, then its counts as JSON for every line on standard input.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import threading
from collections import Counter

ADDRESSES = ("1.1.1.1", "8.8.8.8", "169.254.169.254", "168.63.129.16", "169.254.170.2", "100.100.100.200", "9.9.9.9")
ADDRESSES_6 = ("2606:4700:4700::1111", "2001:4860:4860::8888", "fd00:ec2::254")
TCP_PORTS = (22, 25, 53, 80, 443)  # 8443 refuses
UDP_PORTS = (53, 443)
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
NEIGHBOURS = range(130, 144)  # ICMPv6 types of neighbour discovery and multicast listeners

packets: Counter[str] = Counter()
accepted: Counter[str] = Counter()


def named(protocol: int, target: bytes, body: bytes) -> str | None:
    kind = PROTOCOLS.get(protocol, str(protocol))
    if kind == "icmp6" and body[0] in NEIGHBOURS:
        return None
    port = f":{struct.unpack_from('>H', body, 2)[0]}" if kind in ("tcp", "udp") else ""
    address = ipaddress.ip_address(target)
    return None if address.is_multicast else f"{kind} {address}{port}"


def sniff(wire: socket.socket) -> None:
    while True:
        frame, (_, _, direction, *_) = wire.recvfrom(65_536)
        if direction == socket.PACKET_OUTGOING:
            continue
        kind, body = frame[12:14], frame[14:]
        name = None
        if kind == b"\x08\x00":
            name = named(body[9], body[16:20], body[(body[0] & 15) * 4 :])
        elif kind == b"\x86\xdd" and body[6] != 0:
            name = named(body[6], body[24:40], body[40:])
        if name is not None:
            packets[name] += 1


def answer(query: bytes) -> bytes:
    """One NS record for a question of type NS, one address for one of type A, nothing for others."""
    end = query.index(b"\0", 12) + 5
    kind = query[end - 4 : end - 2]
    record = {b"\0\2": b"\0\2\0\1\0\0\0\0\0\1\0", b"\0\1": b"\0\1\0\1\0\0\0\0\0\4\1\1\1\1"}.get(kind)
    head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0"
    return head + query[12:end] + (b"\xc0\x0c" + record if record else b"")


def serve_tcp(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        accepted[f"{connection.getsockname()[0]}:{connection.getsockname()[1]}"] += 1
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def talk(connection: socket.socket) -> None:
    with connection:
        if connection.getsockname()[1] == 80 and connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if connection.getsockname()[1] == 53 and (said := connection.recv(4096)):
            answered = answer(said[2:])
            connection.sendall(len(answered).to_bytes(2) + answered)


def serve_udp(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            said, sender = server.recvfrom(4096)
            server.sendto(answer(said) if port == 53 else said[:20], sender)


def main() -> None:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind(("world", 0))
    threads = [threading.Thread(target=sniff, args=(wire,), daemon=True)]
    for port in TCP_PORTS:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        threads.append(threading.Thread(target=serve_tcp, args=(listener,), daemon=True))
    threads += [
        threading.Thread(target=serve_udp, args=(address, port), daemon=True)
        for port in UDP_PORTS
        for address in ("1.1.1.1", "8.8.8.8", "10.77.0.1")
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps({"packets": packets, "accepted": accepted}), flush=True)


if __name__ == "__main__":
    main()
