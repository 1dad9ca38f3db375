"""`Policies`: what the operator wrote, checked whole; and its judgement of one request. Pure.

Three questions: may it be called; without an approval; without a strong one. Cedar denies by default, a `forbid` wins,
and an error in any policy, or no decision, refuses (I-01, I-02).
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cedarpy
import orjson
from cedarpy import Decision, Schema

from proxy.errors import ConfigError, Finding
from proxy.model import Strength
from proxy.policy.entities import handle, resource_of, subjects
from proxy.policy.question import uid
from proxy.policy.slices import Slices
from proxy.policy.statement import Policy, parsed
from proxy.policy.text import statements
from proxy.policy.vocabulary import CALL, WITHOUT_APPROVAL, WITHOUT_STRONG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cedarpy import Entities

    from proxy.policy.entities import Resource, Subject
    from proxy.policy.question import Question
    from proxy.policy.statement import Limit
    from proxy.policy.vocabulary import Vocabulary

MAX_HANDLES: Final = 4096
RESERVATIONS: Final = (((WITHOUT_APPROVAL,), Strength.APPROVAL), ((WITHOUT_STRONG,), Strength.STRONG))
"""What is asked of a call that is allowed, and what it needs where the answer is no."""
_CONSEQUENCE: Final = "unable to find an applicable action"
_FOR_ACTION: Final = re.compile(r' for Action::"[^"]*"')


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say of one request.

    Attributes:
        allowed: it may be made, if `strength` is met.
        failed: a policy could not be evaluated, or the question is outside the schema; then it is not allowed.
        policies: ids of those that decided, sorted.
        redact: pointers of what the permits that decided have taken out of the answer.
        limits: how often they let an agent call.
        advice: what the deciding policies say to the agent.
    """

    allowed: bool
    strength: Strength = Strength.NONE
    failed: bool = False
    policies: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    allowed: bool
    failed: bool
    policies: tuple[str, ...]


class Policies:
    """A set of policies that was validated strictly against the schema of one configuration."""

    def __init__(
        self, policies: Iterable[Policy], vocabulary: Vocabulary, sources: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Raises `ConfigError`: the schema refuses one, or two have one id. `sources`: what they were read from."""
        self.sources: Final = sources
        self.policies: Final = {policy.id: policy for policy in policies}
        named = {a for p in self.policies.values() for a in p.actions if a in vocabulary.operations}
        self.schema_text: Final = vocabulary.schema(named)
        self.version: Final = _version(self.policies.values(), self.schema_text)
        self._own_action: Final = frozenset(named)
        told = (orjson.dumps(p.compiled["conditions"]).decode() for p in self.policies.values())
        self._words: Final = frozenset(word for text in told for word in re.findall(r"\w+", text))
        self._schema: Final = Schema.from_str(self.schema_text)
        self._slices: Final = Slices(self.policies.values())
        self._handles: Final[OrderedDict[tuple[Subject, Resource, tuple[Subject, ...]], Entities]] = OrderedDict()

    @classmethod
    def load(cls, sources: Iterable[tuple[str, str]], vocabulary: Vocabulary) -> Policies:
        """The policies of `sources`, (file name, Cedar text) each. Raises `ConfigError` with every mistake."""
        given = tuple(sources)
        found: list[Policy] = []
        findings: list[Finding] = []
        for file, text in given:
            for number, statement in enumerate(statements(file, text), 1):
                policy = parsed(statement, number)
                if isinstance(policy, Policy):
                    found.append(policy)
                else:
                    findings += policy
        findings += _twice(found)
        if findings:
            raise ConfigError(findings)
        policies = cls(found, vocabulary, given)
        if invalid := list(_invalid(found, policies.schema_text)):
            raise ConfigError(invalid)
        return policies

    def speaks_of(self, name: str) -> bool:
        """Whether a policy may look at this part of the context."""
        return name in self._words

    def judge(self, question: Question) -> Verdict:
        """What they say of `question`: everybody in whose name the call is made must be allowed."""
        resource = resource_of(question)
        context = orjson.dumps(question.context()).decode()  # once for all that is asked
        whose = subjects(question.agent)
        verdicts = [self._judge(subject, whose, resource, context) for subject in whose]
        return Verdict(
            allowed=all(verdict.allowed for verdict in verdicts),
            strength=max(verdict.strength for verdict in verdicts),
            failed=any(verdict.failed for verdict in verdicts),
            policies=tuple(sorted({id_ for verdict in verdicts for id_ in verdict.policies})),
            redact=tuple(dict.fromkeys(pointer for verdict in verdicts for pointer in verdict.redact)),
            limits=tuple(dict.fromkeys(limit for verdict in verdicts for limit in verdict.limits)),
            advice=tuple(dict.fromkeys(text for verdict in verdicts for text in verdict.advice)),
        )

    def settled(self, question: Question, verdict: Verdict) -> bool:
        """Whether `verdict` holds for every call of this operation by this agent, whatever its context."""
        resource = resource_of(question)
        if not verdict.allowed and any(not self.policies[id_].reads_context for id_ in verdict.policies):
            return True
        actions = (self._action(resource), *(action for action, _ in RESERVATIONS))
        return not any(
            policy.reads_context
            for subject in subjects(question.agent)
            for action in (actions if verdict.allowed else actions[:1])
            for policy in self._slices.matching(subject.uids, resource.uids, action)
            if verdict.allowed or verdict.policies or policy.permits
        )

    def asks_time(self, question: Question) -> bool:
        """Whether a policy whose scope lets it have a say in `question` asks when it is."""
        return any(policy.reads_time for policy in self.bearing(question))

    def bearing(self, question: Question) -> tuple[Policy, ...]:
        """Those whose scope lets them have a say in `question`."""
        resource = resource_of(question)
        actions = (*self._action(resource), WITHOUT_APPROVAL, WITHOUT_STRONG)
        whose = subjects(question.agent)
        found = {p.id: p for one in whose for p in self._slices.matching(one.uids, resource.uids, actions)}
        return tuple(found.values())

    def _judge(self, subject: Subject, whose: tuple[Subject, ...], resource: Resource, context: str) -> Verdict:
        call = self._ask(subject, whose, resource, context, self._action(resource))
        if not call.allowed:
            return self._verdict(call, Strength.NONE)
        strength = max((self.policies[id_].strength for id_ in call.policies), default=Strength.NONE)
        decided = call.policies
        for action, wanted in RESERVATIONS:
            if strength >= wanted:
                continue
            answer = self._ask(subject, whose, resource, context, action, reserved=True)
            if answer.failed:
                return self._verdict(answer, Strength.NONE)
            decided += answer.policies
            if answer.allowed:
                break  # whoever may do without any approval may do without a strong one
            strength = wanted
        return self._verdict(_Answer(allowed=True, failed=False, policies=decided), strength)

    def _ask(
        self,
        subject: Subject,
        whose: tuple[Subject, ...],
        resource: Resource,
        context: str,
        action: tuple[str, ...],
        *,
        reserved: bool = False,
    ) -> _Answer:
        """Cedar's answer. `reserved`: the call itself was asked before, with the same context against the schema."""
        slice_ = self._slices.of(subject.uids, resource.uids, action)
        if reserved and slice_.foregone is not None:
            allowed, decided = slice_.foregone
            return _Answer(allowed, failed=False, policies=decided)
        request = {
            "principal": uid(subject.kind, subject.name),
            "action": uid("Action", action[0]),
            "resource": uid("Operation", resource.id),
            "context": context,
        }
        entities, schema = self._entities(subject, resource, whose), None if reserved else self._schema
        result = cedarpy.is_authorized(request, slice_.parsed, entities, schema=schema)
        failed = bool(result.diagnostics.errors) or result.decision is Decision.NoDecision
        allowed = result.decision is Decision.Allow and not failed
        return _Answer(allowed, failed, tuple(result.diagnostics.reasons))

    def _action(self, resource: Resource) -> tuple[str, ...]:
        """What the call itself is asked as, then the groups that this is in."""
        own = (resource.id,) if resource.id in self._own_action else ()
        return (*own, resource.action, CALL)

    def _entities(self, subject: Subject, resource: Resource, whose: tuple[Subject, ...]) -> Entities:
        key = (subject, resource, whose)
        known = self._handles.get(key)
        if known is None:
            known = self._handles[key] = handle(subject, resource, whose)
            if len(self._handles) > MAX_HANDLES:
                self._handles.popitem(last=False)
        return known

    def _verdict(self, answer: _Answer, strength: Strength) -> Verdict:
        decided = [self.policies[id_] for id_ in answer.policies]
        permits = [policy for policy in decided if policy.permits and answer.allowed]
        return Verdict(
            allowed=answer.allowed,
            strength=strength,
            failed=answer.failed,
            policies=tuple(sorted(answer.policies)),
            redact=tuple(pointer for policy in permits for pointer in policy.redact),
            limits=tuple(limit for policy in permits if (limit := policy.limit) is not None),
            advice=tuple(policy.annotations["advice"] for policy in decided if policy.annotations.get("advice")),
        )


def _version(policies: Iterable[Policy], schema: str) -> str:
    """A digest of everything that decides: SHA-256 in hexadecimal."""
    whole = hashlib.sha256(schema.encode())
    for policy in policies:
        whole.update(f"\0{policy.id}\0{policy.text}".encode())
    return whole.hexdigest()


def _twice(policies: Iterable[Policy]) -> Iterator[Finding]:
    seen: dict[str, Policy] = {}
    for policy in policies:
        if policy.id in seen:
            first = seen[policy.id]
            yield Finding(policy.file, policy.line, "@id", f"{policy.id} is also at {first.file}:{first.line}")
        seen[policy.id] = policy


def _invalid(policies: list[Policy], schema: str) -> Iterator[Finding]:
    """What the strict validation says; its policies are numbered, and each action that fits repeats the mistake."""
    messages: dict[int, dict[str, None]] = {}
    for error in cedarpy.validate_policies("\n".join(policy.text for policy in policies), schema).errors:
        message = _FOR_ACTION.sub("", error.error.replace(f"for policy `{error.policy_id}`, ", ""))
        messages.setdefault(int(error.policy_id.removeprefix("policy")), {})[message] = None
    for number, policy in enumerate(policies):
        found = messages.get(number, {})
        yield from (
            Finding(policy.file, policy.line, policy.id, message)
            for message in found
            if len(found) == 1 or not message.startswith(_CONSEQUENCE)
        )
