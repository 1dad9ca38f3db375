"""What a classifier is told and may answer, as values; see test_classifier.py for the wire."""

from __future__ import annotations

import pytest

from proxy.model import Agent, Strength
from proxy.risk import Advice, Circumstances, score
from proxy.risk.features import BadAdviceError, advice, question
from tests.risk.calls import call

AGENT = Agent("coder", ("*",), "t1")
CALL = call("hello")
HIGHEST = Advice(100, available=False)


def test_an_agent_is_the_same_hash_for_one_key_and_tenant_only():
    def hashed(agent, key):
        return question(CALL, score(CALL), agent, key=key, body=False)

    assert hashed(AGENT, b"a") == hashed(AGENT, b"a")
    assert len({hashed(AGENT, b"a"), hashed(AGENT, b"b"), hashed(Agent("coder", (), "t", tenant="x"), b"a")}) == 3


def test_advice_joined_is_the_stricter_in_every_respect():
    both = Advice(40, ("a",)).joined(Advice(20, ("b",), Strength.APPROVAL, available=False))
    assert both == Advice(40, ("a", "b"), Strength.APPROVAL, available=False)
    known = Circumstances(CALL.circumstances.past).advised(Advice(40, ("a",)))
    assert score(call("x", known=known)).codes == ("classifier", "classifier.a")
    assert score(call("x", known=known.advised(HIGHEST))).score == 100


@pytest.mark.parametrize("text", [b'{"score":0,"reasons":[1]}', b"\xff", b"null"])
def test_what_is_not_advice(text):
    with pytest.raises(BadAdviceError):
        advice(text)
