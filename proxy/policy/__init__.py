"""May they: Cedar policies, loaded strictly, asked about every request. Pure, but for reading the files."""

from proxy.policy.engine import Policies, Verdict
from proxy.policy.question import Question
from proxy.policy.rollout import Rollout
from proxy.policy.statement import Limit
from proxy.policy.vocabulary import Vocabulary

__all__ = ["Limit", "Policies", "Question", "Rollout", "Verdict", "Vocabulary"]
