"""How risky a call is. Advisory: it can ask for more than the policies do, never for less (P12)."""

from proxy.risk.circumstances import HOUR_MS, UNKNOWN, Advice, Circumstances, Past, Usage
from proxy.risk.look import Call, SecretShapes
from proxy.risk.score import NO_RISK, Hit, Risk, score

__all__ = [
    "HOUR_MS",
    "NO_RISK",
    "UNKNOWN",
    "Advice",
    "Call",
    "Circumstances",
    "Hit",
    "Past",
    "Risk",
    "SecretShapes",
    "Usage",
    "score",
]
