"""Records and chains: canonical bytes, and every kind of tampering shows."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.receipts.chain import Books, Head, book_problems, chain_problems
from proxy.receipts.record import GENESIS, LARGEST_INTEGER, canonical, link

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-LARGEST_INTEGER, LARGEST_INTEGER), st.text(st.characters(codec="utf-8"))
)
NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=12))
def test_p11_the_fast_form_is_the_canonical_form(fields):
    assert canonical(fields) == rfc8785.dumps(fields)


@pytest.mark.parametrize("value", [1.5, float("nan"), LARGEST_INTEGER + 1, -LARGEST_INTEGER - 1])
def test_numbers_on_which_readers_disagree_are_refused(value):
    with pytest.raises(ValueError, match="not an exact number"):
        link({"id": "a", "n": value}, kind="decision", chain="c", seq=0, prev=GENESIS, at_ms=1)


def build(*entries):
    records, prev = [], GENESIS
    for seq, (kind, fields) in enumerate(entries):
        records.append(link(fields, kind=kind, chain="c", seq=seq, prev=prev, at_ms=100 + seq))
        prev = records[-1].hash
    return records


def whole():
    return build(
        ("note", {"id": "n", "note": "opened"}),
        ("decision", {"id": "a", "decision": "allow"}),
        ("decision", {"id": "d", "decision": "deny", "slug": "policy_denied"}),
        ("outcome", {"id": "o", "of": "a", "outcome": "completed"}),
        ("decision", {"id": "b", "decision": "allow"}),
        ("outcome", {"id": "p", "of": "b", "outcome": "not_sent"}),
        ("note", {"id": "m", "note": "closed"}),
    )


def problems(records, *, head=None, live=frozenset()):
    end = head or whole()[-1]
    books = Books()
    found = list(chain_problems(Head("c", end.seq, end.hash, live=bool(live)), records, books))
    return [*found, *book_problems(books, set(live))]


def test_a_whole_chain_has_no_problem():
    assert problems(whole()) == []


def test_each_record_names_the_one_before():
    records = whole()
    assert records[0].prev == GENESIS
    assert [record.prev for record in records[1:]] == [record.hash for record in records[:-1]]
    assert all(orjson.loads(record.body)["prev"] == record.prev for record in records)


@pytest.mark.parametrize("place", range(7))
def test_p11_a_dropped_record_shows(place):
    records = whole()
    del records[place]
    assert problems(records)


@pytest.mark.parametrize("kept", range(7))
def test_p11_a_cut_off_end_shows(kept):
    assert any("should end at #6" in problem for problem in problems(whole()[:kept]))


@pytest.mark.parametrize("place", range(6))
def test_p11_reordered_records_show(place):
    records = whole()
    records[place], records[place + 1] = records[place + 1], records[place]
    assert problems(records)


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("field", ["seq", "id", "kind", "of", "at_ms", "prev", "hash", "chain"])
def test_p11_a_changed_column_shows(place, field):
    records = whole()
    old = getattr(records[place], field)
    records[place] = replace(records[place], **{field: old + 1 if isinstance(old, int) else "0" * 64 + "x"})
    assert problems(records)


@pytest.mark.parametrize("place", range(7))
def test_p11_a_changed_body_shows(place):
    records = whole()
    body = {**orjson.loads(records[place].body), "status": 200}
    records[place] = replace(records[place], body=canonical(body).decode())
    assert any("changed" in problem for problem in problems(records))


@pytest.mark.parametrize("place", range(6))
def test_p11_a_record_that_was_made_again_breaks_the_next_link(place):
    records = whole()
    old = records[place]
    records[place] = link(
        {"id": old.id, "note": "another"}, kind=old.kind, chain="c", seq=old.seq, prev=old.prev, at_ms=old.at_ms
    )
    assert any(f"#{place + 1}" in problem and "does not follow" in problem for problem in problems(records))


def test_p4_a_missing_outcome_shows_unless_the_chain_is_live():
    records = build(("decision", {"id": "a", "decision": "allow"}))
    assert problems(records, head=records[-1]) == ["a: allowed, but there is no outcome"]
    assert problems(records, head=records[-1], live={"c"}) == []


@pytest.mark.parametrize("decision", [(), (("decision", {"id": "a", "decision": "deny"}),)])
def test_p4_an_outcome_without_an_allowed_decision_shows(decision):
    records = build(*decision, ("outcome", {"id": "o", "of": "a", "outcome": "completed"}))
    assert problems(records, head=records[-1]) == ["a: an outcome without an allowed decision"]
