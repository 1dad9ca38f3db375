"""The policies of a configuration: the preset and the operator's files, checked against what the profiles offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.catalog.template import name_of, parse_template
from proxy.errors import ConfigError, Finding
from proxy.policy import Policies, Rollout, Vocabulary
from proxy.policy.presets import preset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.schema import Profile
    from proxy.policy.vocabulary import FieldType
    from proxy.policy_settings import Preset
    from proxy.settings import Settings

MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def load_policies(settings: Settings, profiles: Mapping[str, Profile]) -> Policies:
    """The policies in force. Raises `ConfigError` with every mistake, each with its file and line."""
    return policies_of(settings, profiles, _read(settings.policies.files))


def policies_of(settings: Settings, profiles: Mapping[str, Profile], sources: Iterable[tuple[str, str]]) -> Policies:
    """The preset and `sources`, each a name and its text, in place of the files. Raises `ConfigError`."""
    return _loaded(settings.policies.chosen(settings.mode), sources, settings, profiles)


def load_rollout(settings: Settings, profiles: Mapping[str, Profile]) -> Rollout | None:
    """The policies that are to take their place, where there are some. Raises as `load_policies`."""
    wanted = settings.policies.candidate
    if wanted is None:
        return None
    candidate = _loaded(wanted.preset, _read(wanted.files), settings, profiles)
    return Rollout(candidate, frozenset(wanted.agents), frozenset(wanted.groups), wanted.percent)


def _loaded(
    chosen: Preset | None,
    sources: Iterable[tuple[str, str]],
    settings: Settings,
    profiles: Mapping[str, Profile],
) -> Policies:
    shipped = [preset(chosen)] if chosen is not None else []
    enabled = [profiles[name] for name in sorted(settings.providers) if name in profiles]
    if conflicts := list(_conflicts(enabled)):
        raise ConfigError(conflicts)
    return Policies.load([*shipped, *sources], vocabulary(enabled))


def vocabulary(enabled: Iterable[Profile]) -> Vocabulary:
    """What policies may speak of."""
    operations: dict[str, str] = {}
    params: set[str] = set()
    fields: dict[str, FieldType] = {}
    for profile in enabled:
        for operation in profile.operations:
            operations[f"{profile.name}:{operation.id}"] = operation.action.value
            params.update(name for piece in parse_template(operation.path) if (name := name_of(piece)))
            fields.update((name, spec.type) for name, spec in operation.fields.items())
    return Vocabulary(frozenset(params), fields, operations)


def _conflicts(enabled: Iterable[Profile]) -> Iterator[Finding]:
    """Fields that two profiles give different types."""
    known: dict[str, tuple[FieldType, str]] = {}
    for profile in enabled:
        for operation in profile.operations:
            for name, spec in operation.fields.items():
                kind, first = known.setdefault(name, (spec.type, profile.name))
                if kind != spec.type:
                    place = f"operations.{operation.id}.fields.{name}"
                    message = f"profile {first} has a field of this name with another type"
                    yield Finding(f"{profile.name}.yaml", 1, place, message)


def _read(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ConfigError([Finding(str(path), 1, "(file)", f"larger than {MAX_FILE_BYTES} bytes")])
            yield str(path), path.read_text("utf-8")
        except OSError as error:
            raise ConfigError([Finding(str(path), 1, "(file)", error.strerror or "cannot be read")]) from None
        except UnicodeDecodeError:
            raise ConfigError([Finding(str(path), 1, "(file)", "not UTF-8")]) from None
