"""From calls that were seen, the least that would have let them through: operations, Cedar policies, budgets. Pure."""

from proxy.learning.proposal import Proposal, propose
from proxy.learning.replay import Refusal, refused_by
from proxy.learning.seen import Seen, seen_of

__all__ = ["Proposal", "Refusal", "Seen", "propose", "refused_by", "seen_of"]
