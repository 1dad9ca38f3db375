"""Clients that behave well and badly, tried for real: curl, and a shell that does what it should not."""

from __future__ import annotations

import sys

import pytest

from proxy.cli.doctor.client import VARIABLES_ALONE, Client, Mode, Way
from proxy.cli.doctor.laboratory import confinement_works, private_hosts_work
from proxy.cli.doctor.report import Verdict
from tests.cli.doctor.conftest import alive

VERSION = ("curl", "--version")
CURL = ("curl", "-sS", "$url/")


def client(name, *ways, **more):
    return Client(name, ways[0].argv[0], ways, VERSION, **more)


def curl(*options, needs="", **variables):
    return Way(("curl", "-sS", *options, "$url/"), needs, variables)


async def test_p1_what_a_client_says_is_shown_without_key_and_token(bench):
    way = Way(("sh", "-c", 'env; curl -sS -H "X-Copy: $$SAMPLE_API_KEY" $url/'))
    (row,) = await bench.tries(client("tells all", way))
    assert row.verdict is Verdict.WORKS
    said = row.tried[0].said
    assert "sample" in said
    assert "http://agent:TOKEN@127.0.0.1:" in said
    assert "OPERATORS_SECRET" not in said
    assert bench.place._provider.key not in said
    assert bench.place._token not in said


async def test_each_way_of_failing_has_its_verdict(bench, tmp_path):
    if not await private_hosts_work():
        pytest.skip("no mount namespaces: a client that goes around the proxy cannot be seen here")
    other = str(tmp_path / "provider-root.pem")
    wrong = {"CURL_CA_BUNDLE": other, "SSL_CERT_FILE": other}
    rows = await bench.tries(
        client("good", curl()),
        client("needs a file", curl(**wrong), curl("--cacert", "$bundle", needs="--cacert", **wrong)),
        client("distrusts", curl(**wrong)),
        client("without token", curl("--proxy", "http://$proxy_host:$proxy_port")),
        client("goes around", curl("--noproxy", "*")),
        client("goes around and distrusts", curl("--noproxy", "*", **wrong)),
        client("does nothing", Way(("true",))),
        client("not there", Way(("no-such-program-anywhere",))),
        Client("no library", "sh", (curl(),), ("false",)),
        client("told", curl(), untried="it has no other address"),
    )
    assert {row.client: (str(row.verdict), row.needs) for row in rows} == {
        "good": ("works", ""),
        "needs a file": ("works with", "--cacert"),
        "distrusts": ("cannot", ""),
        "without token": ("cannot", ""),
        "goes around": ("needs confined mode", ""),
        "goes around and distrusts": ("cannot", ""),
        "does nothing": ("cannot be tried here", ""),
        "not there": ("not installed", ""),
        "no library": ("not installed", ""),
        "told": ("cannot be tried here", ""),
    }
    why = {row.client: row.why for row in rows}
    assert "asked the proxy, then did not accept" in why["distrusts"]
    assert "407" in why["without token"]
    assert "it did not accept its certificate" in why["goes around and distrusts"]
    assert why["told"] == "it has no other address"
    assert rows[0].version.count(".")


@pytest.mark.parametrize("mode", [Mode.BASE_URL, Mode.REDIRECTED, Mode.CONFINED])
async def test_a_client_that_knows_no_proxy_gets_through_in_the_other_modes(bench, mode):
    if mode is Mode.REDIRECTED and not await private_hosts_work():
        pytest.skip("no mount namespaces here")
    if mode is Mode.CONFINED and not await confinement_works():
        pytest.skip("no program can be confined here")
    around = curl("--noproxy", "*")
    rows = await bench.tries(client("plain", around), client("code", curl(), modes=VARIABLES_ALONE), mode=mode)
    assert [(row.client, row.verdict, row.tried[0].proxied) for row in rows] == [("plain", Verdict.WORKS, False)]


async def test_clients_at_the_same_time_are_told_apart(bench):
    good = [client(f"good {number}", curl()) for number in range(4)]
    bad = [client(f"bad {number}", curl("--proxy", "http://$proxy_host:$proxy_port")) for number in range(4)]
    rows = await bench.tries(*(one for pair in zip(good, bad, strict=True) for one in pair), at_once=8)
    assert [row.verdict for row in rows] == [Verdict.WORKS, Verdict.CANNOT] * 4


async def test_a_client_that_hangs_is_ended_with_all_that_it_started(bench, tmp_path):
    mark = f"4{abs(hash(str(tmp_path))) % 10**6}.5"
    way = Way(("sh", "-c", f"setsid sleep {mark} & echo $$HOME; sleep {mark}"))
    (row,) = await bench.tries(client("hangs", way), limit_s=1)
    assert row.verdict is Verdict.UNTRIED
    assert "(ended after its time)" in row.tried[0].said
    assert row.tried[0].exit_code is None
    assert await alive(mark) == []
    assert list(tmp_path.glob("attempt-*[0-9]")) == []


async def test_a_client_that_has_been_seen_is_not_waited_for(bench):
    way = Way(("sh", "-c", "curl -sS $url/; sleep 600"))
    (row,) = await bench.tries(client("goes on", way), limit_s=300)
    assert row.verdict is Verdict.WORKS
    assert row.tried[0].exit_code is None


async def test_a_program_sees_one_more_host_and_the_machine_does_not(bench):
    if not await private_hosts_work():
        pytest.skip("no mount namespaces here")
    script = "import socket, sys; print(socket.gethostbyname(sys.argv[1]), socket.gethostbyname('localhost'))"
    (row,) = await bench.tries(client("resolves", Way((sys.executable, "-c", script, "$host"))))
    assert row.tried[0].said.split() == ["127.77.0.1", "127.0.0.1"]
