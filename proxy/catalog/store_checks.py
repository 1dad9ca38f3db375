"""What the schema cannot say about `secret_stores`, and about refs to stores that are not configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.documents import Strict
from proxy.egress.http import parse_https
from proxy.secretstore import ASKED, NEAR, bad_ref
from proxy.store_settings import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.documents import Place
    from proxy.settings import Settings
    from proxy.store_settings import SecretStoreSettings


def store_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Everything wrong with the settings of stores, and every ref of an account to a store that has none."""
    for scheme, own in _sections(settings.secret_stores):
        place: Place = ("secret_stores", scheme)
        if own.ca_file is not None and not own.ca_file.is_file():
            yield (*place, "ca_file"), "there is no such file"
        for name in type(own).model_fields:
            address = getattr(own, name)
            if name.endswith("address") and address is not None and not _is_https(address):
                yield (*place, name), "an address is https://HOST[:PORT]"
    for place, ref in login_refs(settings.secret_stores):
        yield from _own_ref(place, ref)
    for place, ref in account_refs(settings):
        scheme = ref.partition(":")[0]
        if scheme in ASKED and getattr(settings.secret_stores, scheme) is None:
            yield place, f"secret_stores.{scheme} says where this store is; it is missing"


def account_refs(settings: Settings) -> Iterator[tuple[Place, str]]:
    """Every secret ref of every account, with its place in the file."""
    for provider, entry in settings.providers.items():
        for account, described in entry.accounts.items():
            for name, ref in described.secrets.items():
                yield ("providers", provider, "accounts", account, "secrets", name), ref
            for name, ref in described.keys.items():
                yield ("providers", provider, "accounts", account, "keys", name), ref


def login_refs(settings: SecretStoreSettings) -> Iterator[tuple[Place, str]]:
    """Every secret ref that a store logs in with, with its place in the file."""
    yield from ((("secret_stores", *below), ref) for below, ref in _refs(settings))


def _refs(model: Strict) -> Iterator[tuple[Place, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Strict):
            yield from (((name, *below), ref) for below, ref in _refs(value))
        elif isinstance(value, str) and (field.description or "").startswith("Secret ref"):
            yield (name,), value


def anchored(settings: SecretStoreSettings, base: Path) -> SecretStoreSettings:
    """`settings` with their paths counted from `base`."""
    changed = {
        scheme: own.model_copy(update={"ca_file": base / own.ca_file})
        for scheme, own in _sections(settings)
        if own.ca_file is not None
    }
    mounted = settings.k8s.model_copy(update={"directory": base / settings.k8s.directory})
    return settings.model_copy(update={**changed, "k8s": mounted})


def _sections(settings: SecretStoreSettings) -> Iterator[tuple[str, Asked]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Asked):
            yield name, value


def _own_ref(place: Place, ref: str) -> Iterator[Mistake]:
    problem = bad_ref(ref)
    if problem is not None:
        yield place, problem
    elif ref.partition(":")[0] not in NEAR:
        yield place, f"what a store logs in with rests in one of {', '.join(f'{name}:' for name in NEAR)}"


def _is_https(address: str) -> bool:
    try:
        parse_https(address)
    except ValueError:
        return False
    return True
