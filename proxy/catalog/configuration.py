"""`briefcased.yaml` and its profiles as one checked whole."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.canonical import parse_authority, parse_host
from proxy.catalog import approval_checks, listening, operator_checks, risk_checks, store_checks, token_issuers
from proxy.catalog.bundle import signer_mistakes
from proxy.catalog.checks import overlaps
from proxy.catalog.listening import listener_mistakes, spiffe_mistakes, unread_mistakes
from proxy.catalog.loader import Shelf, load_profiles
from proxy.catalog.metering import budget_mistakes
from proxy.catalog.modes import mode_mistakes
from proxy.catalog.patterns import fits
from proxy.catalog.pinning import open_file_findings, pin_mistakes
from proxy.catalog.policies import load_policies, load_rollout
from proxy.catalog.tenants import tenant_mistakes
from proxy.catalog.upstream_proxies import anchored, upstream_proxy_mistakes
from proxy.confine.probe.ways import WAYS
from proxy.documents import read_document
from proxy.egress.addresses import unopenable
from proxy.errors import ConfigError, Finding
from proxy.keys.refs import bad_key_ref
from proxy.secretstore import bad_ref
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.catalog.schema import Profile
    from proxy.credentials.kind import Kind
    from proxy.documents import Document
    from proxy.policy import Policies, Rollout
    from proxy.policy_settings import PolicySettings
    from proxy.settings import Account

BEGIN_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, every profile there is (enabled or not), and, once it has been loaded, what decides.

    `file`: where the settings were read; None where they were not.
    """

    settings: Settings
    profiles: Mapping[str, Profile]
    policies: Policies | None = None
    rollout: Rollout | None = None
    file: Path | None = None

    def deciding(self) -> tuple[Policies, Rollout | None]:
        """The policies, and those that are to take their place, where there are some. Raises `ConfigError`."""
        if self.policies is not None:
            return self.policies, self.rollout
        return load_policies(self.settings, self.profiles), load_rollout(self.settings, self.profiles)


def load_configuration(path: Path) -> Configuration:
    """Read and check everything. Raises `ConfigError` with every mistake in every file."""
    document = read_document(path)
    findings: list[Finding] = []
    profiles: Mapping[str, Profile] = {}
    try:
        profiles = Shelf(load_profiles(_folders(document, path.parent)))
    except ConfigError as error:
        findings += error.findings
    try:
        settings = _absolute(document.validated(Settings), path.parent)
    except ConfigError as error:
        raise ConfigError([*error.findings, *findings]) from None
    found = (*mistakes(settings, profiles), *pin_mistakes(settings))
    findings += [document.finding(place, message) for place, message in found]
    findings += open_file_findings(path, settings)
    policies: Policies | None = None
    rollout: Rollout | None = None
    try:
        policies = load_policies(settings, profiles)
        rollout = load_rollout(settings, profiles)
    except ConfigError as error:
        findings += error.findings
    if findings:
        raise ConfigError(findings)
    return Configuration(settings, profiles, policies, rollout, path)


def _folders(document: Document, base: Path) -> list[Path]:
    data = document.data
    named = data.get("profiles") if isinstance(data, dict) else None
    return [base / folder for folder in named if isinstance(folder, str)] if isinstance(named, list) else []


def _absolute(settings: Settings, base: Path) -> Settings:
    """Relative paths count from the file's own directory."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else base / path

    providers = {
        name: entry.model_copy(
            update={"ca_bundle": at(entry.ca_bundle), "upstream_proxy": anchored(entry.upstream_proxy, base)}
        )
        for name, entry in settings.providers.items()
    }
    agents = {
        name: entry.model_copy(
            update={"hand_over": entry.hand_over.model_copy(update={"directory": base / entry.hand_over.directory})}
        )
        for name, entry in settings.agents.items()
        if entry.hand_over is not None
    }
    egress = settings.egress
    proxied = anchored(egress.upstream_proxy, base)
    certificates = settings.certificates
    confinement = settings.confinement
    return settings.model_copy(
        update={
            "listeners": listening.anchored(settings.listeners, base),
            "agents": {**settings.agents, **agents},
            "profiles": tuple(base / folder for folder in settings.profiles),
            "policies": _anchored(settings.policies, base),
            "providers": providers,
            "egress": egress.model_copy(update={"ca_bundle": at(egress.ca_bundle), "upstream_proxy": proxied}),
            "identity": settings.identity.model_copy(
                update={"tokens": token_issuers.anchored(settings.identity.tokens, base)}
            ),
            "state": settings.state
            if settings.state.shared is None
            else settings.state.model_copy(
                update={
                    "shared": settings.state.shared.model_copy(
                        update={"ca_bundle": at(settings.state.shared.ca_bundle)}
                    )
                }
            ),
            "confinement": confinement.model_copy(update={"report": at(confinement.report)}),
            "approvals": approval_checks.anchored(settings.approvals, base),
            "operators": operator_checks.anchored(settings.operators, base),
            "risk": risk_checks.anchored(settings.risk, base),
            "secret_stores": store_checks.anchored(settings.secret_stores, base),
            "certificates": certificates.model_copy(update={"issuer_certificate": at(certificates.issuer_certificate)}),
        }
    )


def _anchored(policies: PolicySettings, base: Path) -> PolicySettings:
    candidate = policies.candidate
    if candidate is not None:
        candidate = candidate.model_copy(update={"files": tuple(base / file for file in candidate.files)})
    return policies.model_copy(
        update={
            "files": tuple(base / file for file in policies.files),
            "candidate": candidate,
            "signers": tuple(base / file for file in policies.signers),
            "signature": None if policies.signature is None else base / policies.signature,
        }
    )


def mistakes(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """Everything that the schema cannot say about a configuration."""
    yield from listener_mistakes(settings)
    yield from spiffe_mistakes(settings)
    yield from _providers(settings, profiles)
    yield from _overlaps(settings, profiles)
    yield from tenant_mistakes(settings)
    yield from _hand_overs(settings)
    yield from unread_mistakes(settings, profiles)
    yield from _egress(settings)
    yield from upstream_proxy_mistakes(settings)
    yield from token_issuers.token_issuer_mistakes(settings)
    yield from operator_checks.operator_mistakes(settings)
    yield from store_checks.store_mistakes(settings)
    yield from approval_checks.approval_mistakes(settings)
    yield from risk_checks.risk_mistakes(settings)
    yield from _state(settings)
    yield from budget_mistakes(settings, profiles)
    yield from signer_mistakes(settings)
    if settings.certificates.issuer_key is not None and (problem := bad_ref(settings.certificates.issuer_key)):
        yield ("certificates", "issuer_key"), problem
    for index, way in enumerate(settings.confinement.accept):
        if way not in WAYS:
            yield ("confinement", "accept", index), f"there is no way of this name{_suggest(way, WAYS)}"
    yield from mode_mistakes(settings, profiles)


def _providers(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    for name, provider in settings.providers.items():
        profile = profiles.get(name)
        if profile is None:
            if profiles:
                yield ("providers", name), f"there is no profile of this name{_suggest(name, profiles)}"
            continue
        if provider.ca_bundle is not None and (problem := _bad_bundle(provider.ca_bundle)):
            yield ("providers", name, "ca_bundle"), problem
        if sum(account.default for account in provider.accounts.values()) > 1:
            yield ("providers", name, "accounts"), "more than one account is the default"
        for account_name, account in provider.accounts.items():
            for place, message in _account(account, profile):
                yield ("providers", name, "accounts", account_name, *place), message


def _account(account: Account, profile: Profile) -> Iterator[Mistake]:
    if not account.secrets and not any(_complete(kind, account, profile) for kind in profile.credentials.values()):
        yield ("secrets",), "an account has at least one secret"
    yield from _plain_values(account, profile)
    for name, ref in account.secrets.items():
        if name not in profile.secrets:
            yield ("secrets", name), f"the profile has no secret of this name{_suggest(name, profile.secrets)}"
        elif profile.secrets[name].minted:
            yield ("secrets", name), "this one is minted or captured; no account is given it"
        if (problem := bad_ref(ref)) is not None:
            yield ("secrets", name), problem
    owned = {header.lower() for header in profile.owned_headers}
    for header, value in account.headers.items():
        if header.lower() not in owned:
            yield ("headers", header), "the profile does not list this header under owned_headers"
        if not value.isprintable() or not value.isascii():
            yield ("headers", header), "a header's value is printable ASCII"
    for parameter in account.query:
        if parameter not in profile.owned_query:
            yield ("query", parameter), "the profile does not list this parameter under owned_query"


def _state(settings: Settings) -> Iterator[Mistake]:
    state = settings.state
    if state.seal_key is not None and (problem := bad_ref(state.seal_key)):
        yield ("state", "seal_key"), problem
    if state.shared is None:
        return
    if state.seal_key is None:
        yield ("state", "seal_key"), "sidecars that share a database share the key that seals it: name it"
    if state.shared.password is not None and (problem := bad_ref(state.shared.password)):
        yield ("state", "shared", "password"), problem
    if state.shared.ca_bundle is not None and (problem := _bad_bundle(state.shared.ca_bundle)):
        yield ("state", "shared", "ca_bundle"), problem


def _complete(kind: Kind, account: Account, profile: Profile) -> bool:
    """Whether `kind` needs no secret and has its variables and keys."""
    given = account.variables.keys() | {n for n, v in profile.variables.items() if v.default is not None}
    return not kind.secret_names() and kind.variable_names() <= given and kind.foreign_keys() <= account.keys.keys()


def _plain_values(account: Account, profile: Profile) -> Iterator[Mistake]:
    usable = (kind for kind in profile.credentials.values() if kind.secret_names() <= account.secrets.keys())
    for problem in [problem for kind in usable if (problem := kind.lacks()) is not None][:1]:
        yield (), problem
    for name, value in account.variables.items():
        described = profile.variables.get(name)
        if described is None:
            yield (
                ("variables", name),
                f"the profile has no variable of this name{_suggest(name, profile.variables)}",
            )
        elif not fits(described.pattern, value):
            yield ("variables", name), f"the profile wants it to match {described.pattern}"
    slots = {slot: kind for kind in profile.credentials.values() for slot in kind.key_names()}
    for slot, ref in account.keys.items():
        if slot not in slots:
            yield ("keys", slot), f"no credential of the profile has a key of this name{_suggest(slot, slots)}"
        if (problem := bad_key_ref(ref)) is not None:
            yield ("keys", slot), problem
    for index, name in enumerate(account.credentials):
        if name not in profile.credentials:
            yield (
                ("credentials", index),
                f"the profile has no credential of this name{_suggest(name, profile.credentials)}",
            )


def _overlaps(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    enabled = [profiles[name] for name in settings.providers if name in profiles]
    for index, one in enumerate(enabled):
        for other in enabled[index + 1 :]:
            for rule in one.hosts:
                if any(overlaps(rule, theirs) for theirs in other.hosts):
                    yield ("providers", other.name), f"its host {rule.host} belongs to {one.name} too"
                    break


def _hand_overs(settings: Settings) -> Iterator[Mistake]:
    seen: set[Path] = set()
    for name, agent in settings.agents.items():
        if agent.hand_over is None:
            continue
        place = ("agents", name, "hand_over")
        if parse_authority(agent.hand_over.proxy.encode(), None) is None:
            yield (*place, "proxy"), "an address is HOST:PORT, an IPv6 host in brackets"
        if agent.hand_over.directory in seen:
            yield (*place, "directory"), "another agent has this directory: each needs its own"
        seen.add(agent.hand_over.directory)


def _egress(settings: Settings) -> Iterator[Mistake]:
    if settings.egress.ca_bundle is not None and (problem := _bad_bundle(settings.egress.ca_bundle)):
        yield ("egress", "ca_bundle"), problem
    for index, target in enumerate(settings.egress.allow_private):
        place = ("egress", "allow_private", index)
        if parse_host(target.host.encode()) != target.host:
            yield (*place, "host"), "a host is a lower-case ASCII name or an IPv4 address"
        for at, block in enumerate(target.addresses):
            try:
                problem = unopenable(block)
            except ValueError:
                problem = "not an address or CIDR block"
            if problem is not None:
                yield (*place, "addresses", at), f"can never be allowed: {problem}"


def _bad_bundle(path: Path) -> str | None:
    try:
        return None if BEGIN_CERTIFICATE in path.read_bytes() else "the file holds no PEM certificate"
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"


def _suggest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
