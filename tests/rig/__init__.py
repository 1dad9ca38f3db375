"""The real sidecar, a real provider with TLS, and ways to call one through the other."""

from tests.rig.provider import Provider, Seen
from tests.rig.sidecar import Rig, running_rig

__all__ = ["Provider", "Rig", "Seen", "running_rig"]
