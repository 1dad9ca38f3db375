"""What a decision costs with 10, 1,000 and 10,000 policies, against one call of Cedar in the same run.

    .venv/bin/python bench/policies.py [--rounds N] [--json FILE]

Ten policies bear on each question: six of the agent's own and the four of preset `standard`. Half of the agent's
own have a condition. Agents take turns, so the same question never comes twice in a row. Times are CPU times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cedarpy

from proxy.model import Action, Agent, Authority, Mode, RequestHead
from proxy.policy import Policies, Question, Vocabulary
from proxy.policy.entities import resource_of, subjects
from proxy.policy.presets import preset
from proxy.policy.question import uid

SIZES = (10, 1_000, 10_000)
OWN = 6
MAX_AGENTS = 500
OPERATIONS = {f"github:op{number}": ("read", "write")[number % 2] for number in range(8)}
HEAD = RequestHead(
    method="GET", scheme="https", authority=Authority("api.github.test", 443), path="/repos/acme/site",
    segments=("repos", "acme", "site"), query=None, headers=(), has_body=False,
)  # fmt: skip


def text(size: int) -> str:
    """`size` policies, `OWN` for each agent."""
    lines = []
    for number in range(size):
        condition = f' when {{ context.hour != {number % 24} || context.host like "*.test" }}' if number % 2 else ""
        operation = f'Operation::"github:op{number % len(OPERATIONS)}"' if number % 3 else 'Provider::"github"'
        scope = "==" if number % 3 else "in"
        lines.append(
            f'@id("p{number}") permit (principal == Agent::"a{number // OWN}", action in Action::"call",'
            f" resource {scope} {operation}){condition};"
        )
    return "\n".join(lines)


def questions(size: int) -> list[Question]:
    agents = min(MAX_AGENTS, max(1, size // OWN))
    step = max(1, size // OWN // agents)
    return [
        Question(
            agent=Agent(f"a{(number * step) % max(1, size // OWN)}", ("*",), "t"),
            profile="github", provider="github", operation=f"op{number % 8}",
            action=Action(OPERATIONS[f"github:op{number % 8}"]), head=HEAD, account="github/work", mode=Mode.GA,
            now_ms=1_764_115_200_000,
        )
        for number in range(agents * 2)
    ]  # fmt: skip


def quantiles(samples: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(samples, n=100)
    return {"p50_us": statistics.median(samples) * 1e6, "p99_us": cut[98] * 1e6}


def timed(calls, rounds: int) -> list[float]:
    samples = []
    for _ in range(rounds):
        for call in calls:
            begun = time.thread_time()  # CPU: what others do on the machine is no matter
            call()
            samples.append(time.thread_time() - begun)
    return samples


def once(policies: Policies, question: Question):
    """One call of Cedar: everything that can be made before is made before."""
    (subject,), resource = subjects(question.agent), resource_of(question)
    action = policies._action(resource)
    request = {
        "principal": uid(subject.kind, subject.name), "action": uid("Action", action[0]),
        "resource": uid("Operation", resource.id), "context": question.context(),
    }  # fmt: skip
    slice_ = policies._slices.of(subject.uids, resource.uids, action).parsed
    entities = policies._entities(subject, resource, (subject,))
    return lambda: cedarpy.is_authorized(request, slice_, entities, schema=policies._schema)


def measured(size: int, rounds: int) -> dict[str, float]:
    begun = time.thread_time()
    vocabulary = Vocabulary(operations=OPERATIONS)
    policies = Policies.load([preset("standard"), ("own.cedar", text(size))], vocabulary)
    loaded_s = time.thread_time() - begun
    asked = questions(size)
    assert any(policies.judge(question).allowed for question in asked)
    cold = timed([lambda q=q: Policies.judge(policies, q) for q in asked], 1)
    warm = timed([lambda q=q: policies.judge(q) for q in asked], rounds)
    one = timed([once(policies, question) for question in asked], rounds)
    judged, single = quantiles(warm), quantiles(one)
    return {
        "policies": size, "load_s": loaded_s, "cold_p50_us": statistics.median(cold) * 1e6, **judged,
        "cedar_p50_us": single["p50_us"], "cedar_p99_us": single["p99_us"],
        "ratio": judged["p50_us"] / single["p50_us"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = [measured(size, given.rounds) for size in SIZES]
    print("| policies | decision p50 | p99 | one call of Cedar, p50 | decision / call | load |")
    print("| --: | --: | --: | --: | --: | --: |")
    for row in found:
        print(
            f"| {row['policies']:,} | {row['p50_us']:.0f} µs | {row['p99_us']:.0f} µs | {row['cedar_p50_us']:.0f} µs"
            f" | {row['ratio']:.2f} | {row['load_s']:.1f} s |"
        )
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
