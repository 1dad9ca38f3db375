"""The environment that makes a program use the sidecar: proxy, trust and stand-ins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.catalog.upstream_proxies import entries
from proxy.firewall import Needle, Vocabulary
from proxy.firewall.scanner import scrub as scrub_with
from proxy.model import AccountId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from proxy.catalog.schema import Profile
    from proxy.credentials.standin import StandIns
    from proxy.settings import Settings

    type Scrub = Callable[[bytes], bytes]
    """Text as the agent may see it."""

PROXY: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
OF_THE_WORKLOAD: Final = frozenset({"ACTIONS_ID_TOKEN_REQUEST_TOKEN"})
"""What the workload proves its own identity with, which is not the agent's."""
NO_PROXY: Final = "localhost,127.0.0.1,::1"
CA_FILES: Final = (
    "SSL_CERT_FILE",  # OpenSSL, Go, Ruby, uv, httpx
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "CODEX_CA_CERTIFICATE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "PERL_LWP_SSL_CA_FILE",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
    "BUNDLE_SSL_CA_CERT",
    "HEX_CACERTS_PATH",
    "JULIA_SSL_CA_ROOTS_PATH",
)
SHORTEST_SECRET: Final = 8
ENV_REF: Final = "env:"
FILE_REF: Final = "file:"


def proxy_variables(url: str, bundle: Path) -> dict[str, str]:
    """What points every usual client at the sidecar and makes it trust the interception CA."""
    proxies = {form: url for name in PROXY for form in (name, name.lower())}
    bypass = {"NO_PROXY": NO_PROXY, "no_proxy": NO_PROXY}
    return {**proxies, **bypass, **dict.fromkeys(CA_FILES, str(bundle)), "NODE_USE_ENV_PROXY": "1"}


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a program whose connections are redirected: no proxy could be reached from there."""
    gone = {form for name in (*PROXY, "NO_PROXY") for form in (name, name.lower())} | {"NODE_USE_ENV_PROXY"}
    return {name: value for name, value in environment.items() if name not in gone}


def stand_in_variables(profiles: Mapping[str, Profile], agent: str, stand_ins: StandIns) -> dict[str, str]:
    """Every usual variable of every secret that `agent` holds a stand-in for; the first account of a provider wins."""
    found: dict[str, str] = {}
    for stand_in in stand_ins.all:
        if stand_in.agent == agent:
            for name in profiles[stand_in.account.provider].secrets[stand_in.slot].env:
                found.setdefault(name, stand_in.value)
    return found


def named_in(settings: Settings) -> frozenset[str]:
    """Every variable that a secret ref of `settings` reads, of whatever provider."""
    return frozenset(ref.removeprefix(ENV_REF) for ref in _refs(settings) if ref.startswith(ENV_REF))


def files_in(settings: Settings) -> frozenset[str]:
    """Every file in which `settings` finds a secret, of whatever provider."""
    bearers = (str(issuer.bearer_file) for issuer in settings.identity.tokens if issuer.bearer_file is not None)
    return frozenset(bearers) | {ref.removeprefix(FILE_REF) for ref in _refs(settings) if ref.startswith(FILE_REF)}


def _refs(settings: Settings) -> list[str]:
    refs = [
        ref
        for entry in settings.providers.values()
        for account in entry.accounts.values()
        for ref in account.secrets.values()
    ]
    proxies = [ref for _, proxy in entries(settings) for ref in (proxy.username, proxy.password)]
    return [ref for ref in (*refs, *proxies, settings.certificates.issuer_key) if ref is not None]


def places(settings: Settings, profiles: Mapping[str, Profile]) -> dict[str, tuple[AccountId, str]]:
    """For each variable the account and slot whose stand-in belongs there.

    A variable that a secret ref names belongs to that ref's slot; a usual one else to its provider's first account.
    """
    slots = [
        (AccountId(provider, name), slot, ref)
        for provider, entry in settings.providers.items()
        for name, account in entry.accounts.items()
        for slot, ref in account.secrets.items()
    ]
    found: dict[str, tuple[AccountId, str]] = {}
    for account, slot, ref in slots:
        if ref.startswith(ENV_REF):
            found.setdefault(ref.removeprefix(ENV_REF), (account, slot))
    for account, slot, _ in slots:
        for name in profiles[account.provider].secrets[slot].env:
            found.setdefault(name, (account, slot))
    return found


def without_secrets(
    environment: Mapping[str, str],
    profiles: Mapping[str, Profile],
    replacements: Mapping[str, str],
    *,
    named: Collection[str] = (),
    scrub: Scrub = bytes,
) -> tuple[dict[str, str], list[str]]:
    """`environment` for a program that nobody trusts, and the names of the variables that were taken from it.

    Known variables (usual ones, `named` ones and those with a replacement) hold their stand-in, or are removed where
    there is none. Their values, and whatever `scrub` knows of, are replaced in any other variable (a URL, an
    authentication header) in every form that answers are searched for; a variable that cannot be cleaned so is removed.
    """
    usual = {name for profile in profiles.values() for slot in profile.secrets.values() for name in slot.env}
    known = usual | replacements.keys() | set(named) | OF_THE_WORKLOAD
    vocabulary = _vocabulary({name: environment.get(name, "") for name in known}, replacements)
    clean: dict[str, str] = {}
    taken: list[str] = []
    for name, value in environment.items():
        if name in known:
            taken.append(name)
            continue
        cleaned = _cleaned(value, vocabulary, scrub)
        if cleaned != value:
            taken.append(name)
        if cleaned is not None:
            clean[name] = cleaned
    set_before = {name: replacements[name] for name in replacements if environment.get(name)}
    return clean | set_before, sorted(taken)


def _vocabulary(values: Mapping[str, str], replacements: Mapping[str, str]) -> Vocabulary:
    """Of the values of known variables. Where two hold the same value, the one that has a replacement comes first."""
    long = {name: value.strip() for name, value in values.items() if len(value.strip()) >= SHORTEST_SECRET}
    in_order = sorted(long, key=lambda name: (name not in replacements, name))
    return Vocabulary(Needle(_raw(long[name]), _raw(replacements.get(name, ""))) for name in in_order)


def _cleaned(value: str, vocabulary: Vocabulary, scrub: Scrub) -> str | None:
    """`value` without secrets; None where one would still be found."""
    raw = _raw(value)
    clean = scrub(scrub_with(raw, vocabulary)[0])
    if clean == raw:
        return value
    return None if vocabulary.find(clean) or scrub(clean) != clean else clean.decode("utf-8", "surrogateescape")


def _raw(value: str) -> bytes:
    """The environment's own bytes: those that are not UTF-8 stand in it as surrogates (PEP 383)."""
    return value.encode("utf-8", "surrogateescape")
