"""The environment that makes a program use the sidecar: proxy, trust and stand-ins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.catalog.schema import Profile
    from proxy.credentials.standin import StandIns

PROXY: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
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


def proxy_variables(url: str, bundle: Path) -> dict[str, str]:
    """What points every usual client at the sidecar and makes it trust the interception CA."""
    proxies = {form: url for name in PROXY for form in (name, name.lower())}
    bypass = {"NO_PROXY": NO_PROXY, "no_proxy": NO_PROXY}
    return {**proxies, **bypass, **dict.fromkeys(CA_FILES, str(bundle)), "NODE_USE_ENV_PROXY": "1"}


def stand_in_variables(profiles: Mapping[str, Profile], agent: str, stand_ins: StandIns) -> dict[str, str]:
    """Every usual variable of every secret that `agent` holds a stand-in for; the first account of a provider wins."""
    found: dict[str, str] = {}
    for stand_in in stand_ins.all:
        if stand_in.agent == agent:
            for name in profiles[stand_in.account.provider].secrets[stand_in.slot].env:
                found.setdefault(name, stand_in.value)
    return found


def without_secrets(
    environment: Mapping[str, str], profiles: Mapping[str, Profile], replacements: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """`environment` for a program that nobody trusts, and the names of the variables that were taken from it.

    Known variables hold their stand-in, or are removed where there is none; a secret's value inside any other
    variable (a URL, an authentication header) is replaced too.
    """
    known = {name for profile in profiles.values() for slot in profile.secrets.values() for name in slot.env}
    values = {
        environment[name]: replacements.get(name, "")
        for name in known
        if len(environment.get(name, "")) >= SHORTEST_SECRET
    }
    longest_first = sorted(values, key=len, reverse=True)
    clean: dict[str, str] = {}
    taken: list[str] = []
    for name, value in environment.items():
        if name in known:
            taken.append(name)
            continue
        for secret in longest_first:
            value = value.replace(secret, values[secret])  # noqa: PLW2901
        if value != environment[name]:
            taken.append(name)
        clean[name] = value
    set_before = {name: replacements[name] for name in replacements if environment.get(name)}
    return clean | set_before, sorted(taken)
