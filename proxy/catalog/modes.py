"""What `staging` and `ga` refuse that `reference` lets pass: one row per relaxed knob. See docs/modes.md. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from proxy.canonical import is_local
from proxy.catalog.approval_checks import channel_refs
from proxy.catalog.checks import stays
from proxy.catalog.listening import SPECIAL
from proxy.catalog.store_checks import login_refs
from proxy.catalog.upstream_proxies import entries
from proxy.egress.addresses import Reach, classify
from proxy.model import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from proxy.catalog.checks import Mistake
    from proxy.catalog.schema import Profile
    from proxy.settings import Settings

EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # what is refused, not what is bound
type Rule = Callable[[Settings, Mapping[str, Profile]], Iterator[Mistake]]


def _unmatched(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.unmatched == "pass":
        yield ("unmatched",), "destinations without a profile are refused in mode"


def _debug_logs(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.logs.level == "debug":
        yield ("logs", "level"), "debug logging is refused in mode"


def _environment_secrets(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    for provider, entry in settings.providers.items():
        for account, described in entry.accounts.items():
            for name, ref in described.secrets.items():
                if ref.startswith("env:"):
                    place = ("providers", provider, "accounts", account, "secrets", name)
                    yield place, "use file:, exec: or local:; secrets in the environment are refused in mode"
    for below, proxy in entries(settings):
        for name in ("username", "password"):
            if (getattr(proxy, name) or "").startswith("env:"):
                yield (*below, name), "use file:, exec: or local:; secrets in the environment are refused in mode"
    classifier = settings.risk.classifier
    if classifier is not None and (classifier.token or "").startswith("env:"):
        yield (
            ("risk", "classifier", "token"),
            "use file:, exec: or local:; secrets in the environment are refused in mode",
        )
    for login, ref in (*login_refs(settings.secret_stores), *channel_refs(settings.approvals)):
        if ref.startswith("env:"):
            yield login, "use file:, exec: or local:; secrets in the environment are refused in mode"


def _plain_upstreams(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    for provider in settings.providers:
        profile = profiles.get(provider)
        if profile is not None and any(rule.scheme == "http" and not stays(profile, rule) for rule in profile.hosts):
            yield ("providers", provider), "a provider without TLS is refused in mode"


def _loopback_targets(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    for index, target in enumerate(settings.egress.allow_private):
        for at, block in enumerate(target.addresses):
            try:
                first = ipaddress.ip_network(block).network_address
            except ValueError:
                continue
            if classify(first) is Reach.LOOPBACK:
                yield ("egress", "allow_private", index, "addresses", at), "loopback is refused in mode"


def _plain_database(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    shared = settings.state.shared
    if shared is not None and shared.tls == "off" and not shared.host.startswith("/"):
        yield ("state", "shared", "tls"), "a shared database without TLS is refused in mode"


def _unchecked_confinement(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.confinement.required and settings.confinement.report is None:
        yield (
            ("confinement", "report"),
            "name the report of a confinement check, or set confinement.required to false, in mode",
        )


def _observed_policies(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.policies.observe:
        yield ("policies", "observe"), "policies that are only observed are refused in mode"


def _open_policies(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.policies.preset == "open":
        yield (
            ("policies", "preset"),
            "use another preset, or files of yours alone; open asks nobody and is refused in mode",
        )


def _told_widenings(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.policies.widening == "tell":
        yield (
            ("policies", "widening"),
            "what allows more waits for another operator, or has a signature; tell is refused in mode",
        )


def _unpinned_profiles(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    if settings.profiles and settings.profiles_digest is None:
        yield (
            ("profiles",),
            "pin them with what `briefcased check` prints; without profiles_digest they are refused in mode",
        )


def _control_among_agents(settings: Settings, _profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """Loopback counts for nobody: whoever is on this machine reaches whatever listens here."""
    listeners = settings.listeners
    control = _host(listeners.control)
    agents = {_host(at) for at in (listeners.proxy, *(one.at for one in listeners.more)) if not at.startswith(SPECIAL)}
    remote = {host for host in agents if not is_local(host)}
    if control in remote or (control in EVERY_ADDRESS and remote):
        yield ("listeners", "control"), "an address that agents from elsewhere reach is refused in mode"


def _host(at: str) -> str:
    return at.rpartition(":")[0].strip("[]")


GA_REFUSES: Final[Mapping[str, Rule]] = {
    "unmatched": _unmatched,
    "debug_logs": _debug_logs,
    "environment_secrets": _environment_secrets,
    "plain_upstreams": _plain_upstreams,
    "loopback_targets": _loopback_targets,
    "plain_database": _plain_database,
    "unchecked_confinement": _unchecked_confinement,
    "observed_policies": _observed_policies,
    "open_policies": _open_policies,
    "told_widenings": _told_widenings,
    "unpinned_profiles": _unpinned_profiles,
    "control_among_agents": _control_among_agents,
}
STAGING_REFUSES: Final = frozenset({"unmatched", "plain_upstreams", "plain_database", "control_among_agents"})
"""What would carry data or credentials where nobody looks, or show agents our own side, is refused before too."""


def mode_warnings(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """What `ga` would refuse of a configuration in mode `staging`; nothing in the other modes."""
    if settings.mode is Mode.STAGING:
        for name, rule in GA_REFUSES.items():
            if name not in STAGING_REFUSES:
                yield from ((place, f"{message} {Mode.GA}") for place, message in rule(settings, profiles))


def mode_mistakes(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """Every relaxed knob that the mode refuses."""
    for name, rule in GA_REFUSES.items():
        if settings.mode is Mode.GA or (settings.mode is Mode.STAGING and name in STAGING_REFUSES):
            yield from ((place, f"{message} {settings.mode}") for place, message in rule(settings, profiles))
