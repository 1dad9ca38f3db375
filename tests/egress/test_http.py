"""The sidecar's own calls: what is received and what is sent is not quoted when it fails."""

from __future__ import annotations

import pytest

from proxy.clock import SystemClock
from proxy.egress.dial import NAMED_BY_THE_OPERATOR, Dialler
from proxy.egress.http import HttpClient, HttpFailedError, parse_https
from proxy.egress.resolver import Resolver
from tests.rig.provider import Provider

HOST, SECRET = "tokens.example.test", "the-value\r\nof-the-secret"


@pytest.fixture
async def provider(tmp_path):
    provider = Provider(tmp_path, (HOST,))
    await provider.start()
    yield provider
    await provider.stop()


def asked(provider, **headers):
    resolver = Resolver(clock=SystemClock(), timeout_s=5, hosts={HOST: ("127.0.0.1",)})
    client = HttpClient(dialler=Dialler(resolver=resolver, connect_timeout_s=5, own_listeners=frozenset), timeout_s=5)
    url = parse_https(f"https://{HOST}:{provider.port}/x")
    return client.request(
        "GET", url, headers=headers, max_bytes=1000, trust=provider.root, allow_private=NAMED_BY_THE_OPERATOR
    )


async def test_p1_a_secret_that_cannot_stand_in_a_header_is_a_failure_that_does_not_quote_it(provider):
    with pytest.raises(HttpFailedError) as failed:
        await asked(provider, authorization=SECRET)
    assert "the-value" not in str(failed.value)
    assert failed.value.__suppress_context__
    assert provider.requests == []


async def test_p1_an_answer_does_not_show_what_it_holds(provider):
    async def token(_seen, _reader, writer):
        body = b"the-value-of-the-token"
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: %d\r\n\r\n%b" % (body, len(body), body))

    provider.on("/x", token)
    answer = await asked(provider)
    assert answer.body == b"the-value-of-the-token"
    assert repr(answer) == "Answer(status=200)"
