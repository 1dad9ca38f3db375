"""I-16: what we make of Cedar says what Cedar says, and cedarpy says what Cedar's WebAssembly build says.

What we make of it: slices, what the scopes alone decide, one context for all that is asked, kept handles.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import cedarpy
import orjson
import pytest

from proxy.errors import ConfigError
from proxy.model import Strength
from proxy.policy import Policies, Question, Verdict
from proxy.policy.entities import handle, resource_of, subjects
from proxy.policy.question import uid
from proxy.policy.vocabulary import WITHOUT_APPROVAL, WITHOUT_STRONG
from tests.policy.drawn import drawn_question, drawn_text
from tests.policy.questions import VOCABULARY
from tests.rig.node import installed

WASM = Path(__file__).parent / "cedar_wasm"

SETS = 15
MORE = 60
ASKED = 6


def drawn(seed: int) -> tuple[Policies, list[Question]]:
    """A set that the strict validation takes, and questions about it."""
    chance = random.Random(seed)
    while True:
        try:
            policies = Policies.load([("drawn.cedar", drawn_text(chance))], VOCABULARY)
        except ConfigError:  # a policy that can never hold
            continue
        return policies, [drawn_question(chance) for _ in range(ASKED)]


def requests(policies: Policies, question: Question) -> list[dict[str, Any]]:
    """The three questions of each subject, in order, without what we do to save some."""
    resource, whose = resource_of(question), subjects(question.agent)
    own = policies._action(resource)[0]
    return [
        {
            "principal": uid(subject.kind, subject.name),
            "action": uid("Action", action),
            "resource": uid("Operation", resource.id),
            "context": question.context(),
        }
        for subject in whose
        for action in (own, WITHOUT_APPROVAL, WITHOUT_STRONG)
    ]


def restated(found: list[tuple[bool, bool]]) -> tuple[bool, Strength, bool]:
    """Allowed, strength, failed, by hand, from (allowed, failed) of each question in order."""
    verdicts = []
    for call, plain, strong in zip(found[::3], found[1::3], found[2::3], strict=True):
        if not call[0] or call[1]:
            verdicts.append((False, Strength.NONE, call[1]))
        elif plain[1] or (not plain[0] and strong[1]):
            verdicts.append((False, Strength.NONE, True))
        else:
            strength = Strength.NONE if plain[0] else Strength.APPROVAL if strong[0] else Strength.STRONG
            verdicts.append((True, strength, False))
    return all(v[0] for v in verdicts), max(v[1] for v in verdicts), any(v[2] for v in verdicts)


def said(verdict: Verdict) -> tuple[bool, Strength, bool]:
    return verdict.allowed, verdict.strength, verdict.failed


def whole(policies: Policies, question: Question) -> list[tuple[bool, bool]]:
    """What cedarpy says of all policies together, nothing left out and nothing kept."""
    everything = orjson.dumps({
        "staticPolicies": {id_: policy.compiled for id_, policy in policies.policies.items()},
        "templates": {}, "templateLinks": [],
    }).decode()  # fmt: skip
    parsed, resource, whose = (
        cedarpy.PolicySet.from_json_str(everything),
        resource_of(question),
        subjects(question.agent),
    )
    found = []
    for number, request in enumerate(requests(policies, question)):
        entities = handle(whose[number // 3], resource, whose)
        result = cedarpy.is_authorized(request, parsed, entities, schema=policies._schema)
        failed = bool(result.diagnostics.errors) or result.decision is cedarpy.Decision.NoDecision
        found.append((result.decision is cedarpy.Decision.Allow and not failed, failed))
    return found


def test_i16_slices_say_what_the_whole_set_says() -> None:
    outcomes = set()
    for seed in range(SETS):
        policies, asked = drawn(seed)
        for question in asked:
            verdict = policies.judge(question)
            assert said(verdict) == restated(whole(policies, question)), (seed, question)
            outcomes.add(said(verdict))
    assert len(outcomes) >= 5  # allowed with each strength, refused, failed: all were met


def test_what_is_foregone_is_what_cedar_says() -> None:
    foregone = 0
    for seed in range(SETS):
        policies, asked = drawn(seed)
        for question in asked:
            resource, (subject, *_) = resource_of(question), subjects(question.agent)
            for action in ((WITHOUT_APPROVAL,), (WITHOUT_STRONG,), policies._action(resource)):
                slice_ = policies._slices.of(subject.uids, resource.uids, action)
                if slice_.foregone is None:
                    continue
                foregone += 1
                request = {"principal": uid(subject.kind, subject.name), "action": uid("Action", action[0]),
                           "resource": uid("Operation", resource.id), "context": question.context()}  # fmt: skip
                entities = handle(subject, resource, subjects(question.agent))
                result = cedarpy.is_authorized(request, slice_.parsed, entities, schema=policies._schema)
                assert not result.diagnostics.errors
                decided = (result.decision is cedarpy.Decision.Allow, sorted(result.diagnostics.reasons))
                assert (slice_.foregone[0], sorted(slice_.foregone[1])) == decided, (seed, question, action)
    assert foregone > 50


def answers(calls: list[dict[str, Any]], folder: Path) -> list[tuple[bool, bool]]:
    """What Cedar in WebAssembly says: (allowed, failed) of each call."""
    problem = installed(WASM)
    assert problem is None, problem
    (folder / "calls.json").write_bytes(orjson.dumps(calls))
    command = ["node", str(WASM / "answers.cjs"), str(folder / "calls.json"), str(folder / "answers.json")]
    subprocess.run(command, check=True, timeout=300)
    found = orjson.loads((folder / "answers.json").read_bytes())
    unread = [one[2] for one in found if len(one) > 2]
    assert unread == [], unread[:3]
    return [(allowed, failed) for allowed, failed in found]


@pytest.mark.slow
def test_i16_cedarpy_says_what_cedar_wasm_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    calls, ours = [], []
    for seed in range(MORE):
        policies, asked = drawn(seed)
        static = {id_: policy.compiled | {"annotations": {}} for id_, policy in policies.policies.items()}
        for question in asked:
            resource, whose = resource_of(question), subjects(question.agent)
            ours.append(said(policies.judge(question)))
            for number, request in enumerate(requests(policies, question)):
                described = [e for one in (whose[number // 3], *whose) for e in one.entities()] + resource.entities()
                # It reads the actions from the schema, and takes no others.
                entities = list(
                    {orjson.dumps(one["uid"]): one for one in described if one["uid"]["type"] != "Action"}.values()
                )
                calls.append({
                    **request, "schema": policies.schema_text, "validateRequest": True, "entities": entities,
                    "policies": {"staticPolicies": static, "templates": {}, "templateLinks": []},
                })  # fmt: skip
    found = iter(answers(calls, tmp_path_factory.mktemp("wasm")))
    theirs = []
    for seed in range(MORE):
        _, asked = drawn(seed)
        theirs += [restated([next(found) for _ in range(3 * len(subjects(q.agent)))]) for q in asked]
    assert next(found, None) is None
    assert theirs == ours
