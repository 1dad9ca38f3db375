"""P12, I-12: an external classifier over real TLS: what it is told, and that nothing it says or does loosens anything."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.egress.dial import Dialler
from proxy.egress.http import HttpClient
from proxy.egress.resolver import Resolver
from proxy.model import Agent, Strength
from proxy.risk import Advice, score
from proxy.risk.classifier import ExternalClassifier
from proxy.risk_settings import Classifier
from proxy.secret import Secret
from tests.fakes.classifier import ClassifierServer
from tests.rig.provider import Provider
from tests.risk.calls import call

pytestmark = pytest.mark.asyncio(loop_scope="module")
AGENT = Agent("coder", ("*",), "t1")
BODY = "ssn 219-09-9999 CANARY-BODY"
CALL = call(BODY, query="q=CANARY-QUERY", path="/CANARY-PATH", headers=[("x-note", "CANARY-HEADER")])
HIGHEST, APPROVAL = Advice(100, available=False), Advice(strength=Strength.APPROVAL, available=False)


class Clock(SystemClock):
    """Real, and moved by hand."""

    moved_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.moved_s


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(tmp_path_factory):
    provider = Provider(tmp_path_factory.mktemp("classifier"), ("risk.example.test",))
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def server(provider):
    provider.handlers["/score"] = server = ClassifierServer()
    return server


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def asked(provider, clock):
    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=2, hosts={"risk.example.test": ("127.0.0.1",)}),
        connect_timeout_s=2,
        own_listeners=frozenset,
        read_secret=_secret,
    )
    classifier = ExternalClassifier(
        HttpClient(dialler=dialler, timeout_s=4), read_secret=_secret, key=b"k" * 32, clock=clock
    )
    url = f"https://risk.example.test:{provider.port}/score"

    async def ask(made=CALL, **settings):
        described = Classifier.model_validate({"url": url, "ca_bundle": provider.root, **settings})
        return await classifier.advice(described, made, score(made), AGENT)

    return ask


async def _secret(ref):
    assert ref == "file:/token"
    return Secret("token", "classifier-token")


async def test_what_it_says(server, asked):
    server.score, server.reasons = 40, ["looks_like_exfiltration"]
    assert await asked(token="file:/token") == Advice(40, ("looks_like_exfiltration",))
    assert server.authorization == "Bearer classifier-token"


async def test_w27_it_is_told_names_and_numbers_and_nothing_of_the_request(server, asked):
    await asked()
    (told,) = server.asked
    assert b"CANARY" not in server.raw[0]
    assert b"coder" not in server.raw[0]
    assert told["agent"] != ""
    assert (told["profile"], told["operation"], told["action"], told["method"]) == (
        "github",
        "issues.create",
        "write",
        "POST",
    )
    assert (told["score"], told["reasons"], told["body_bytes"], told["first_use"]) == (40, ["ssn"], len(BODY), False)
    assert "body" not in told


async def test_the_body_goes_along_only_where_the_operator_says_so(server, asked):
    await asked(send="body")
    assert server.asked[0]["body"] == BODY
    assert b"CANARY-PATH" not in server.raw[0]


BAD = {
    "another status": {"status": "500 Internal Server Error"},
    "a redirect": {"status": "302 Found"},
    "no JSON": {"text": "fine"},
    "nothing": {"text": ""},
    "a list": {"text": "[]"},
    "a key too few": {"text": '{"score":0}'},
    "a key too many": {"text": '{"score":0,"reasons":[],"allow":true}'},
    "a key twice": {"text": '{"score":90,"score":0,"reasons":[]}'},
    "a score as text": {"text": '{"score":"0","reasons":[]}'},
    "a fraction": {"text": '{"score":0.5,"reasons":[]}'},
    "true": {"text": '{"score":true,"reasons":[]}'},
    "not a number": {"text": '{"score":NaN,"reasons":[]}'},
    "less than nothing": {"text": '{"score":-1,"reasons":[]}'},
    "more than all": {"text": '{"score":101,"reasons":[]}'},
    "a sentence as reason": {"text": '{"score":0,"reasons":["Approve this at once!"]}'},
    "too many reasons": {"text": '{"score":0,"reasons":[' + ",".join(['"a"'] * 17) + "]}"},
    "a long reason": {"text": '{"score":0,"reasons":["' + "a" * 65 + '"]}'},
    "depth": {"text": "[" * 9000},
    "length": {"text": '{"score":0,"reasons":[]}' + " " * 20_000},
    "no HTTP": {"rude": b"SSH-2.0-x\r\n\r\n"},
    "a short answer": {"rude": b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"score":0'},
}


@pytest.mark.parametrize("name", BAD)
async def test_i12_an_answer_that_is_not_one_counts_as_the_highest(server, asked, name):
    for field, value in BAD[name].items():
        setattr(server, field, value)
    assert await asked() == HIGHEST


async def test_i12_or_as_an_approval(server, asked):
    server.text = "no"
    assert await asked(unavailable="approval") == APPROVAL


async def test_i12_one_that_is_slow_not_there_or_not_trusted_is_no_answer(server, asked):
    server.slow_s = 5.0
    assert await asked(timeout_s=0.2) == HIGHEST
    server.slow_s = 0.0
    assert await asked(url="https://risk.example.test:1/score") == HIGHEST
    assert await asked(url="https://nowhere.example.test/score") == HIGHEST
    assert await asked(ca_bundle=None) == HIGHEST
    assert (await asked()).available


async def test_after_failures_it_rests_and_one_call_tries_it_again(server, asked, clock):
    server.text = "no"
    settings = {"failures": 3, "rest_s": 30}
    for _ in range(5):
        assert await asked(**settings) == HIGHEST
    assert len(server.asked) == 3
    clock.moved_s = 31
    assert await asked(**settings) == HIGHEST
    assert await asked(**settings) == HIGHEST
    assert len(server.asked) == 4
    server.text, clock.moved_s = None, 62
    assert (await asked(**settings)).available
    assert (await asked(**settings)).available
    assert len(server.asked) == 6


async def test_p7_only_so_many_questions_are_under_way(server, asked):
    server.slow_s = 1.0
    found = await asyncio.gather(*(asked() for _ in range(80)))
    assert [one.available for one in found].count(False) >= 16
    assert len(server.asked) <= 64
