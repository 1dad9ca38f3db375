"""What is to be in force with a configuration, and what was: a set of policies with all that stands around it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from proxy.catalog.bundle import own_profiles, staged
from proxy.catalog.configuration import mistakes
from proxy.catalog.loader import Shelf
from proxy.catalog.policies import vocabulary
from proxy.catalog.setting_changes import deciding, narrowed, unnamed
from proxy.catalog.setting_rules import NotThereError
from proxy.errors import BriefcaseError, ConfigError
from proxy.policy import Policies, Rollout
from proxy.policy_versions import digest_of
from proxy.trial.widening import enabled_in, left, profile_before, turned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.catalog.configuration import Configuration
    from proxy.model import Agent
    from proxy.policy import Vocabulary
    from proxy.policy_versions import Frame, Sources, Version
    from proxy.settings import Settings


class UnfitError(BriefcaseError):
    """A set of before speaks of what the configuration does not have any more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An earlier set that somebody wants back.

    Attributes:
        number: of the version that is to be brought back.
        authors: who may not confirm it, beside `author`.
    """

    number: int
    author: str
    authors: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be in force.

    Attributes:
        files_digest: of the files of the configuration.
        version: that the set has been kept as; None for files that were not seen before.
        wish: whose doing it is, where no files say so, and it has not been kept yet.
    """

    configuration: Configuration
    policies: Policies
    rollout: Rollout | None
    frame: Frame
    files_digest: str
    version: Version | None
    wish: Wish | None = None

    @property
    def restores(self) -> int | None:
        """The version that it brings back; None where the files say it."""
        if self.version is not None:
            return self.version.restores
        return self.wish.number if self.wish is not None else None

    @property
    def is_new(self) -> bool:
        """Whether no receipt says so yet."""
        return self.version is None or self.version.receipt is None


def standing(newest: Version | None, configuration: Configuration, frame: Frame) -> Standing:
    """What is to be in force where `newest` was the last that was wanted.

    Raises:
        UnfitError: the set that was brought back does not fit any more.
    """
    own, rollout = configuration.deciding()
    files_digest = digest_of(own.sources, frame)
    known = newest if newest is not None and newest.files_digest == _digest_then(newest, own, frame) else None
    if known is None or known.restores is None:
        configuration = replace(configuration, policies=own, rollout=rollout)
        return Standing(configuration, own, rollout, frame, files_digest, known)
    configuration, frame = without_candidate(configuration), frame.without_candidate()
    earlier = _fitting(known.sources, known.restores, configuration)
    return Standing(replace(configuration, policies=earlier), earlier, None, frame, files_digest, known)


def _digest_then(version: Version, own: Policies, frame: Frame) -> str:
    """The digest of the files as it was made when `version` was kept.

    Of one that had to wait, settings must be a part: whoever confirms it says yes to them as well.
    """
    whole = version.has_settings or (version.receipt is None and bool(version.waits))
    return digest_of(own.sources, frame if whole else frame.without_settings())


def brought_back(earlier: Version, configuration: Configuration, frame: Frame, files_digest: str) -> Standing:
    """The set of `earlier` in place of what is in force, which is the rest; `files_digest` is of the files that say it.

    Raises:
        UnfitError: the two do not fit together.
    """
    configuration = without_candidate(configuration)
    policies = _fitting(earlier.sources, earlier.number, configuration)
    whole = replace(configuration, policies=policies)
    return Standing(whole, policies, None, frame.without_candidate(), files_digest, None)


def _fitting(sources: Sources, number: int, configuration: Configuration) -> Policies:
    try:
        return Policies.load(sources, vocabulary_of(configuration))
    except ConfigError as error:
        message = f"policies of version {number}, which were brought back, do not fit this configuration"
        raise UnfitError(f"{message}:\n{error}") from None


def restored(configuration: Configuration, version: Version, agents: Iterable[Agent] = ()) -> Configuration:
    """`configuration` with the policies, the own profiles and the observing of `version`.

    Of the settings, what allows more than those of then is as it was then; that includes what is left to those of
    `agents` that are not named any more. A provider whose profile was not there then is left out.

    Raises:
        BriefcaseError: the two do not fit together.
    """
    message = f"policies of version {version.number}, which were in force last, do not fit this configuration"
    earlier, frame = without_candidate(configuration), version.frame
    if frame is not None:
        earlier = _framed(earlier, frame, message, agents)
    words = vocabulary_of(earlier)
    try:
        rollout = staged(frame, words) if frame is not None else None
        policies = Policies.load(version.sources, words)
    except ConfigError as error:
        raise BriefcaseError(f"{message}:\n{error}") from None
    then = None if frame is None else frame.settings
    if found := list(turned(then, deciding(earlier.settings), policies, rollout)):
        raise BriefcaseError("\n".join((message, *found)))
    return replace(earlier, policies=policies, rollout=rollout)


def without_candidate(configuration: Configuration) -> Configuration:
    """With one set that decides for everybody."""
    settings = configuration.settings
    policies = settings.policies.model_copy(update={"candidate": None})
    return replace(configuration, settings=settings.model_copy(update={"policies": policies}), rollout=None)


def _framed(configuration: Configuration, frame: Frame, message: str, agents: Iterable[Agent]) -> Configuration:
    settings = _settled(configuration.settings, frame, message, agents)
    touched = frame.profiles.keys() | (own_profiles(configuration.profiles).keys() & settings.providers.keys())
    try:
        old = {name: profile_before(frame, name) for name in sorted(touched)}
    except ValidationError:
        raise BriefcaseError(f"{message}: a profile of then cannot be read any more") from None
    providers = {name: one for name, one in settings.providers.items() if old.get(name, one) is not None}
    policies = settings.policies.model_copy(update={"observe": frame.observe})
    settings = settings.model_copy(update={"providers": providers, "policies": policies})
    own = {name: profile for name, profile in old.items() if profile is not None}
    profiles = Shelf({**own_profiles(configuration.profiles), **own})
    if found := [f"{'.'.join(map(str, place))}: {what}" for place, what in mistakes(settings, profiles)]:
        raise BriefcaseError("\n".join((message, *found)))
    whole = replace(configuration, settings=settings, profiles=profiles, policies=None)
    if found := list(left(frame, frame.profiles, enabled_in(whole), passed=settings.unmatched == "pass")):
        raise BriefcaseError("\n".join((message, *found)))
    return whole


def _settled(settings: Settings, frame: Frame, message: str, agents: Iterable[Agent]) -> Settings:
    if frame.settings is None:
        return settings
    try:
        return narrowed(settings, frame.settings, unnamed(frame.settings, deciding(settings), agents))
    except NotThereError as error:
        raise BriefcaseError(f"{message}: {error}") from None


def vocabulary_of(configuration: Configuration) -> Vocabulary:
    """What policies of `configuration` may speak of."""
    profiles = configuration.profiles
    return vocabulary(profiles[name] for name in sorted(configuration.settings.providers) if name in profiles)
