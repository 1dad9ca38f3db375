"""Reads profiles: the shipped ones, then the operator's directories, which add and override."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import proxy
from proxy.catalog.checks import profile_mistakes
from proxy.catalog.schema import Profile
from proxy.catalog.validation.loading import with_files
from proxy.documents import read_document
from proxy.errors import BriefcaseError, ConfigError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable


def shipped() -> Path:
    """Where the shipped profiles are: package data of an installed wheel, or `profiles/` of a source tree.

    Raises:
        BriefcaseError: the installation is incomplete.
    """
    packaged = Path(str(resources.files("proxy.catalog"))) / "bundled"
    source = Path(proxy.__file__).parents[1] / "profiles"
    for folder in (packaged, source):
        if folder.is_dir():
            return folder
    raise BriefcaseError("the shipped profiles are missing; install credential-briefcase again")


def load_profile(path: Path) -> Profile:
    """One profile, checked. Raises `ConfigError`."""
    document = read_document(path)
    profile, missing = with_files(document.validated(Profile), path.parent)
    findings = [document.finding(place, message) for place, message in missing]
    findings += [document.finding(place, message) for place, message in profile_mistakes(profile) if not missing]
    if profile.name != path.stem:
        findings.append(document.finding(("name",), f"the file must be called {profile.name}.yaml"))
    if findings:
        raise ConfigError(findings)
    return profile


class Shelf(Mapping[str, Profile]):
    """Profiles by name. The shipped ones are read when somebody asks for them; `more` stand before them.

    Reading them all takes longer than most commands. What the schema cannot say of them is not checked again at every
    start: tests do that.
    """

    def __init__(self, more: Mapping[str, Profile] | None = None) -> None:
        self._files: Final = {path.stem: path for path in sorted(shipped().glob("*.yaml"))}
        self._read: Final = dict(more or {})
        self.own: Final[Mapping[str, Profile]] = dict(self._read)

    def __getitem__(self, name: str) -> Profile:
        """The profile of this name. Raises KeyError."""
        if name not in self._read:
            path = self._files[name]
            self._read[name], _ = with_files(read_document(path).validated(Profile), path.parent)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """All names, sorted."""
        return iter(sorted({*self._files, *self._read}))

    def __len__(self) -> int:
        """How many there are."""
        return len({*self._files, *self._read})


def load_profiles(folders: Iterable[Path]) -> dict[str, Profile]:
    """Every profile in `folders`, by name; a later folder overrides. Raises `ConfigError` with all mistakes."""
    profiles: dict[str, Profile] = {}
    findings: list[Finding] = []
    for folder in folders:
        if not folder.is_dir():
            findings.append(Finding(str(folder), 1, "profiles", "this directory does not exist"))
        for path in sorted(folder.glob("*.yaml")):
            try:
                profile = load_profile(path)
            except ConfigError as error:
                findings.extend(error.findings)
            else:
                profiles[profile.name] = profile
    if findings:
        raise ConfigError(findings)
    return profiles
