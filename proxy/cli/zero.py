"""Zero configuration: the shipped profiles whose usual variables are set in the operator's environment. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.cli.variables import SHORTEST_SECRET
from proxy.errors import BriefcaseError
from proxy.settings import Account, Listeners, Provider, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.catalog.schema import Profile

ACCOUNT: Final = "default"
AGENT: Final = "run"
"""The one agent of a sidecar that lives as long as a command."""


def zero_configuration(
    profiles: Mapping[str, Profile],
    environment: Mapping[str, str],
    *,
    allow: tuple[str, ...] | None,
    pass_unmatched: bool,
) -> Settings:
    """Settings for one run: every provider whose variables are set, or only those in `allow`.

    Raises:
        BriefcaseError: `allow` names a profile that does not exist or whose variables are not set; or there is
            nothing to enable and unmatched hosts would be refused too.
    """
    for name in allow or ():
        if name not in profiles:
            raise BriefcaseError(f"--allow {name}: there is no such profile; there are {', '.join(sorted(profiles))}")
    providers: dict[str, Provider] = {}
    for name in sorted(profiles if allow is None else allow):
        secrets = _found(profiles[name], environment)
        fitting = [kind for kind in profiles[name].credentials.values() if kind.secret_names() <= secrets.keys()]
        lacking = [problem for kind in fitting if (problem := kind.lacks()) is not None]
        if (secrets or allow is not None) and _usable(profiles[name], secrets) and not lacking:
            providers[name] = Provider(accounts={ACCOUNT: Account(secrets=secrets, default=True)})
        elif allow is not None:
            told = lacking[0] if lacking else f"set one of {', '.join(_variables(profiles[name]))}"
            raise BriefcaseError(f"--allow {name}: {told}")
    if not providers and not pass_unmatched:
        usual = ", ".join(_variables(profile)[0] for profile in profiles.values() if _variables(profile))
        raise BriefcaseError(f"no provider's variable is set; the usual ones are {usual}")
    return Settings(
        version=1,
        providers=providers,
        unmatched="pass" if pass_unmatched else "refuse",
        listeners=Listeners(proxy="127.0.0.1:0", control="127.0.0.1:0"),
    )


def _usable(profile: Profile, secrets: Mapping[str, str]) -> bool:
    """Whether a credential needs nothing else: one that the agent logs in for needs no secret at all."""
    defaults = {name for name, variable in profile.variables.items() if variable.default is not None}
    kinds = profile.credentials.values()
    return any(kind.secret_names() <= secrets.keys() and kind.variable_names() <= defaults for kind in kinds)


def _found(profile: Profile, environment: Mapping[str, str]) -> dict[str, str]:
    refs = {}
    for slot, described in profile.secrets.items():
        for name in described.env:
            if len(environment.get(name, "")) >= SHORTEST_SECRET:
                refs[slot] = f"env:{name}"
                break
    return refs


def _variables(profile: Profile) -> list[str]:
    return [slot.env[0] for slot in profile.secrets.values() if slot.env]
