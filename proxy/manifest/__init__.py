"""`http://briefcased.internal/`: what an agent may do, and how its calls fare, told to that agent alone."""

from proxy.manifest.pages import Manifest
from proxy.manifest.refusals import Refusals

__all__ = ["Manifest", "Refusals"]
