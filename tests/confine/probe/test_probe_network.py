"""Ways out over the network, each once open and once closed; the outside world counts what reaches it."""

from __future__ import annotations

import json

import pytest

from proxy.confine.probe.report import read_report

NETWORK = {
    "tcp", "tcp6", "dns_udp", "dns_tcp", "dns_resolver", "quic", "icmp", "ignores_proxy", "no_proxy", "metadata",
}  # fmt: skip
RIGHTS = {"net_admin", "packet_socket"}
BYPASS = {"NO_PROXY": "localhost,127.0.0.1,9.9.9.9"}
CHAIN = "add table inet c; add chain inet c o {{ type filter hook output priority 0; policy {policy}; }};"
RULE = " add rule inet c o oif lo accept; add rule inet c o {rule};"
HEARD = (
    "tcp 1.1.1.1:443", "tcp 1.1.1.1:22", "tcp 1.1.1.1:8443", "tcp 2606:4700:4700::1111:443", "udp 1.1.1.1:53",
    "tcp 1.1.1.1:53", "udp 10.77.0.1:53", "udp 1.1.1.1:443", "icmp 1.1.1.1", "tcp 9.9.9.9:443", "tcp 169.254.169.254:80",
    "tcp fd00:ec2::254:80",
)  # fmt: skip


def filtered(rule: str, policy: str = "accept") -> str:
    return CHAIN.format(policy=policy) + RULE.format(rule=rule)


def test_every_way_is_open_where_nothing_closes_it(stage):
    checked = stage.probe(rights=True, **BYPASS)
    assert checked.open() == NETWORK | RIGHTS
    counted = stage.counts()["packets"]
    assert [place for place in HEARD if place not in counted] == []


CLOSINGS = {
    "dropped": (filtered("drop"), {"timeout", "silence"}),
    "rejected": (filtered("reject"), {"rejected"}),
    "rejected by address": (
        filtered("ip daddr {1.1.1.1, 8.8.8.8} reject; add rule inet c o drop"),
        {"rejected", "timeout", "silence"},
    ),
    "prohibited": (filtered("reject with icmpx admin-prohibited"), {"rejected"}),
    "reset": (filtered("meta l4proto tcp reject with tcp reset; add rule inet c o drop"), {"rejected"}),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "prohibited" else ()) for n in CLOSINGS]
)
def test_every_way_is_closed_where_the_agent_s_own_rules_close_it(stage, name):
    rules, seen = CLOSINGS[name]
    stage.rules(rules)
    checked = stage.probe(**BYPASS)
    assert {way for way in NETWORK if checked.states()[way] != "closed"} == set()
    assert checked.seen("tcp") <= seen

    assert stage.counts() == {"packets": {}, "accepted": {}}


def test_every_way_is_closed_without_a_route(stage):
    assert stage.run("sh", "-euc", "ip route del default; ip -6 route del default").returncode == 0
    checked = stage.probe(rights=True, **BYPASS)
    assert checked.open() == RIGHTS | {"dns_resolver"}, "the resolver stands on the cable itself"
    assert checked.seen("tcp") == checked.seen("tcp6") == checked.seen("icmp") == {"no_route"}
    assert set(stage.counts()["packets"]) == {"udp 10.77.0.1:53"}


def test_a_firewall_that_drops_further_out_closes_every_way_but_a_silent_port_says_nothing_alone(stage):
    stage.outside_rules("add table inet c; add chain inet c i { type filter hook input priority 0; policy drop; };"
                        " add rule inet c i meta l4proto ipv6-icmp accept")  # fmt: skip
    checked = stage.probe(**BYPASS)
    assert {way for way in NETWORK if checked.states()[way] != "closed"} == set()
    silent = [e["state"] for e in checked.report["attempts"] if e["way"] == "tcp" and e["seen"] == "silence"]
    assert silent == ["unknown"] * 3
    counted = stage.counts()
    assert counted["accepted"] == {}
    assert "tcp 1.1.1.1:443" in counted["packets"], "they do leave, and are seen by nobody"


ROUTER = (
    "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "ip addr flush dev lo scope global",
    "ip route add default via 10.77.0.9",
    (
        "nft 'add table inet c; add chain inet c f { type filter hook forward priority 0; };"
        " add rule inet c f reject with icmpx admin-prohibited'"
    ),
)
PUBLIC = ("ip addr add 9.9.9.8/32 dev world", "ip route replace 10.77.0.0/24 dev world src 9.9.9.8")


def test_a_router_nearby_that_prohibits_closes_a_way(stage):
    stage.outside_commands(*ROUTER)
    checked = stage.probe(**BYPASS)
    assert checked.seen("tcp") == {"rejected"}
    assert checked.states()["tcp"] == "closed"


def test_what_a_router_with_a_public_address_says_got_out_so_far_that_nobody_knows(stage):
    stage.outside_commands(*ROUTER, *PUBLIC)
    checked = stage.probe(**BYPASS)
    assert checked.seen("tcp") == {"unreachable_outside"}
    assert checked.states()["tcp"] == "unknown"


CAPTURES = """
import socket, sys, threading
answer = sys.argv[1].encode()
server = socket.create_server(("::", 15001), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
print("ready", flush=True)
def serve(connection):
    with connection:
        if answer:
            connection.settimeout(1)
            try:
                connection.recv(4096)
                connection.sendall(answer)
            except OSError:
                pass
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
REDIRECTED = (
    "add table inet c; add chain inet c n { type nat hook output priority -100; };"
    " add rule inet c n oif lo accept; add rule inet c n meta l4proto tcp redirect to :15001;"
    " add chain inet c o { type filter hook output priority 0; policy drop; };"
    " add rule inet c o oif lo accept; add rule inet c o ct status dnat accept"
)


@pytest.mark.parametrize(
    "answer", ["", "HTTP/1.1 403 Forbidden\r\nProxy-Status: briefcased; error=x\r\n\r\n"], ids=["closes", "refuses"]
)
def test_a_listener_that_captures_every_connection_is_no_way_out(stage, answer):
    stage.start(CAPTURES, answer)
    stage.rules(REDIRECTED)
    checked = stage.probe(**BYPASS)
    assert {way for way in NETWORK if checked.states()[way] != "closed"} == set()
    assert checked.seen("tcp") == checked.seen("metadata") == {"captured"}
    assert stage.counts() == {"packets": {}, "accepted": {}}


FORWARDS = """
import socket, sys, threading
server = socket.create_server(("::", 15001), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
print("ready", flush=True)
def serve(connection):
    with connection:
        try:
            there = connection.getsockopt(socket.IPPROTO_IP, 80, 16)
            address, port = socket.inet_ntoa(there[4:8]), int.from_bytes(there[2:4])
            if address == "1.1.1.1" and port == 80:
                said = connection.recv(4096)
                with socket.socket() as out:
                    out.setsockopt(socket.SOL_SOCKET, 36, 7)
                    out.settimeout(2)
                    out.connect((address, port))
                    out.sendall(said)
                    connection.sendall(out.recv(4096))
        except OSError:
            pass
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def test_a_listener_that_captures_and_lets_one_place_through_is_a_way_out(stage):
    stage.start(FORWARDS)
    stage.rules("add table inet c; add chain inet c n { type nat hook output priority -100; };"
                " add rule inet c n meta mark 7 accept; add rule inet c n oif lo accept;"
                " add rule inet c n meta l4proto tcp redirect to :15001;"
                " add chain inet c o { type filter hook output priority 0; policy drop; };"
                " add rule inet c o oif lo accept; add rule inet c o meta mark 7 accept;"
                " add rule inet c o ct status dnat accept")  # fmt: skip
    checked = stage.probe(**BYPASS)
    assert checked.open() & NETWORK == {"tcp"}
    assert {e["target"] for e in checked.report["attempts"] if e["state"] == "open"} == {"1.1.1.1:80"}
    assert set(stage.counts()["accepted"]) == {"::ffff:1.1.1.1:80"}


HOLES = {
    "tcp": ("ip daddr 8.8.8.8 tcp dport 443 accept", "connected", "tcp 8.8.8.8:443"),
    "another port": ("ip daddr 1.1.1.1 tcp dport 22 accept", "connected", "tcp 1.1.1.1:22"),
    "a port that refuses": ("ip daddr 1.1.1.1 tcp dport 8443 accept", "refused_by_peer", "tcp 1.1.1.1:8443"),
    "tcp6": ("ip6 daddr 2606:4700:4700::1111 tcp dport 443 accept", "connected", "tcp 2606:4700:4700::1111:443"),
    "dns_udp": ("ip daddr 1.1.1.1 udp dport 53 accept", "answered", "udp 1.1.1.1:53"),
    "dns_tcp": ("ip daddr 8.8.8.8 tcp dport 53 accept", "answered", "tcp 8.8.8.8:53"),
    "dns_resolver": ("ip daddr 10.77.0.1 udp dport 53 accept", "answered", "udp 10.77.0.1:53"),
    "quic": ("ip daddr 1.1.1.1 udp dport 443 accept", "answered", "udp 1.1.1.1:443"),
    "icmp": ("ip daddr 8.8.8.8 meta l4proto icmp accept", "answered", "icmp 8.8.8.8"),
    "ignores_proxy": ("ip daddr 9.9.9.9 tcp dport 443 accept", "connected", "tcp 9.9.9.9:443"),
    "no_proxy": ("ip daddr 9.9.9.9 tcp dport 8443 accept", "refused_by_peer", "tcp 9.9.9.9:8443"),
    "metadata": ("ip daddr 169.254.169.254 accept", "connected", "tcp 169.254.169.254:80"),
}
WAY = {"another port": "tcp", "a port that refuses": "tcp"}
QUICK = ("another port", "dns_udp", "icmp")


@pytest.mark.parametrize("hole", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in HOLES])
def test_one_hole_in_a_wall_is_found_and_named(stage, hole):
    rule, seen, heard = HOLES[hole]
    stage.rules(filtered(rule, policy="drop") + " add rule inet c o meta l4proto ipv6-icmp accept;")
    bypass = {"NO_PROXY": "9.9.9.9:8443"} if hole == "no_proxy" else {}
    checked = stage.probe(rights=hole == "icmp", **bypass)
    way = WAY.get(hole, hole)
    assert checked.open() - RIGHTS == {way}
    assert seen in checked.seen(way)
    assert set(stage.counts()["packets"]) == {heard}


@pytest.mark.slow
def test_a_target_of_one_s_own_takes_the_place_of_the_usual_ones(stage):
    written = stage.folder / "report.json"
    checked = stage.check("--target", "9.9.9.9:80", "--target", "[fd00:ec2::254]:22", "--write", str(written))
    assert json.loads(written.read_text()) == checked.report
    assert read_report(written).tried()
    targets = {e["target"]: e["state"] for e in checked.report["attempts"] if e["way"] in ("tcp", "tcp6")}
    assert targets == {"9.9.9.9:80": "open", "[fd00:ec2::254]:22": "open"}
    assert stage.counts()["accepted"]["::ffff:9.9.9.9:80"] == 1
    assert checked.code == 1, "something is open"
