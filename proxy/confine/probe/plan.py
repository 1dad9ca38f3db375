"""What one run of the check tries: addresses, the way to the sidecar, places on disk. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.confine.probe.ways import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 3.0
CONTROL: Final = {4: "203.0.113.77", 6: "2001:db8:ffff::77"}
RESOLVERS: Final = ("1.1.1.1", "8.8.8.8")
ANSWERS: Final = (
    Target("1.1.1.1", 443, known=True),
    Target("8.8.8.8", 443, known=True),
    Target("1.1.1.1", 80, known=True),
)
OTHER_PORTS: Final = tuple(Target("1.1.1.1", port) for port in (22, 25, 8443))
ANSWERS_6: Final = (
    Target("2606:4700:4700::1111", 443, known=True),
    Target("2001:4860:4860::8888", 443, known=True),
)
METADATA: Final = (
    Target("169.254.169.254", 80, known=True),
    Target("fd00:ec2::254", 80, known=True),
    Target("169.254.170.2", 80, known=True),
    Target("168.63.129.16", 80, known=True),
    Target("100.100.100.200", 80, known=True),
)
"""AWS, Google, OpenStack; AWS over IPv6; ECS; Azure's wire server; Alibaba. Silence means that nobody is there."""
NAME: Final = "example.com"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`targets` replace the usual addresses of `tcp` and `tcp6`; `state` is where the sidecar may keep its own."""

    environment: Mapping[str, str] = field(repr=False)
    state: tuple[Path, ...]
    targets: tuple[Target, ...] = ()
    timeout_s: float = TIMEOUT_S
    resolv_conf: Path = Path("/etc/resolv.conf")

    @property
    def tcp(self) -> tuple[Target, ...]:
        """IPv4 targets of plain TCP."""
        return tuple(t for t in self.targets if t.version == 4) or (*ANSWERS, *OTHER_PORTS)  # noqa: PLR2004

    @property
    def tcp6(self) -> tuple[Target, ...]:
        """IPv6 targets of plain TCP."""
        return tuple(t for t in self.targets if t.version == 6) or ANSWERS_6  # noqa: PLR2004
