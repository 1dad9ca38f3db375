"""From wire to wire with fragments cut anywhere: the secret where it belongs and nowhere else, none on the way back."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.conversation import Conversation
from proxy.credentials.frames import FrameRewriter, FrameRule
from proxy.credentials.json_place import place_of
from proxy.credentials.standin import StandIn, StandIns
from proxy.exchange import Exchange, Tunnel
from proxy.firewall import Needle, Vocabulary
from proxy.model import AccountId, Agent
from proxy.websocket.deflate import Deflater, Inflater
from proxy.websocket.frames import Message, Writer
from proxy.websocket.reader import Reader

SECRET = 'MTk4.REAL-secret_0123456789\\"~'
OWN, FOREIGN = "MTIz.stand-in-0123456789abc", "tok-stand-in-of-another"
STAND_INS = StandIns(
    [
        StandIn(OWN, "tester", AccountId("discord", "main"), "bot"),
        StandIn(FOREIGN, "tester", AccountId("other", "main"), "token"),
    ]
)
RULES = tuple(FrameRule(pointer="/d/token", when={"/op": op}) for op in (2, 6))
VOCABULARY = Vocabulary([Needle(SECRET.encode(), OWN.encode())])
AGENT = Agent("tester", ("*",), "id")


@dataclass(frozen=True)
class Most:
    max_message_bytes: int = 1 << 20
    max_socket_bytes: int = 1 << 30


def conversation() -> Conversation:
    return Conversation(
        Exchange("-", Tunnel(AGENT, None), 1, 0.0),
        vocabulary=lambda: VOCABULARY,
        admitted=lambda: AGENT,
        rewriter=FrameRewriter(RULES, SECRET, STAND_INS, OWN),
        limits=Most(),
    )


def carried(messages: list[Message], cuts: list[int], *, from_agent: bool) -> list[Message | None]:
    """What the other side reads of `messages`; None for the one that closed the socket."""
    forgets = len(cuts) % 2 == 1
    wire = Writer(mask=from_agent, deflater=Deflater(15, forgets=forgets))
    reader = Reader(masked=from_agent, inflater=Inflater(forgets=forgets), max_bytes=1 << 20)
    onward = Writer(mask=from_agent, deflater=Deflater(12, forgets=not forgets))
    last = Reader(masked=from_agent, inflater=Inflater(forgets=not forgets), max_bytes=1 << 20)
    judge = conversation()
    data = b"".join(wire.message(message) for message in messages)
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    got: list[Message | None] = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        for item in reader.feed(data[start:end]):
            assert isinstance(item, Message)
            passed = judge.from_agent(item) if from_agent else judge.from_provider(item)
            if not isinstance(passed, Message):
                return [*got, None]
            read = list(last.feed(onward.message(passed)))
            assert len(read) == 1
            got.extend(read)
    return got


def message(text: str, ends: list[int], *, compressed: bool) -> Message:
    data = text.encode()
    return Message(True, data, tuple(sorted(end % (len(data) + 1) for end in ends)), compressed)


LEAF = st.one_of(
    st.sampled_from([OWN, FOREIGN, f"{OWN} ", SECRET, 2, 6, True, None]), st.text(max_size=8), st.integers()
)
NAME = st.one_of(st.sampled_from(["op", "d", "token"]), st.text(max_size=3))
TREE = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAME, inner, max_size=4)), max_leaves=12
)
DOCUMENT = st.one_of(
    TREE,
    st.fixed_dictionaries(
        {"op": st.sampled_from([2, 6, 3, True, "2", 2.0]), "d": st.dictionaries(NAME, TREE, max_size=3)},
        optional={"x": TREE},
    ),
    st.fixed_dictionaries(
        {
            "op": st.sampled_from([2, 6, 3, 2.0, "2"]),
            "d": st.fixed_dictionaries({"token": st.sampled_from([OWN, FOREIGN, "x"]), "y": TREE}),
        }
    ),
)
ENDS = st.lists(st.integers(0, 400), max_size=6)


def expected(document: object) -> tuple[bool, object]:
    """By a plain reading of the parsed document: whether it is refused, and what leaves."""
    if not isinstance(document, dict) or not isinstance(document.get("d"), dict):
        return False, document
    if type(document.get("op")) is not int or document["op"] not in (2, 6):
        return False, document
    token = document["d"].get("token")
    if token == FOREIGN:
        return True, None
    if token != OWN:
        return False, document
    return False, {**document, "d": {**document["d"], "token": SECRET}}


@settings(max_examples=200, deadline=None)
@given(
    document=DOCUMENT,
    indent=st.sampled_from([None, 0, 3]),
    escaped=st.booleans(),
    ends=ENDS,
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    compressed=st.booleans(),
)
@example({"op": 2, "d": {"token": OWN, "é": "é"}}, None, False, [20, 30, 31], [5, 40], True)
def test_the_secret_stands_in_its_field_and_nowhere_else(document, indent, escaped, ends, cuts, compressed):
    text = json.dumps(document, indent=indent, ensure_ascii=escaped)
    (got,) = carried([message(text, ends, compressed=compressed)], cuts, from_agent=True)
    refused, wanted = expected(document)
    if refused:
        assert got is None
        return
    assert got is not None
    assert json.loads(got.content) == wanted
    if wanted is document:
        assert got.content.decode() == text
    else:
        assert not got.compressed
        place = place_of(text, "/d/token")
        assert place is not None
        assert got.content.decode() == text[: place.start] + json.dumps(SECRET) + text[place.end :]


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from([SECRET, "é", '"', SECRET[:9], SECRET[9:], json.dumps(SECRET)[1:-1], " "]), max_size=8
        ),
        min_size=1,
        max_size=4,
    ),
    ends=ENDS,
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    compressed=st.booleans(),
)
def test_p1_no_secret_comes_back_whatever_is_cut_where(texts, ends, cuts, compressed):
    said = ["".join(pieces) for pieces in texts]
    got = carried([message(text, ends, compressed=compressed) for text in said], cuts, from_agent=False)
    assert len(got) == len(said)
    for text, read in zip(said, got, strict=True):
        assert read is not None
        seen = read.content.decode()
        assert SECRET not in seen
        assert json.dumps(SECRET)[1:-1] not in seen
        if SECRET not in text and json.dumps(SECRET)[1:-1] not in text:
            assert (seen, read.compressed) == (text, compressed)


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet='{}[]":, \\u0ndtoken2/é\n', max_size=40), pointer=st.sampled_from(["/d", "/d/token", "/"]))
def test_any_text_has_a_place_or_none(text, pointer):
    place = place_of(text, pointer)
    if place is not None:
        assert json.loads(text[place.start : place.end]) == place.value
