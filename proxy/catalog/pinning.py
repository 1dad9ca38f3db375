"""Whether the files of a configuration are the ones that the operator meant, and nobody else may change them."""

from __future__ import annotations

import contextlib
import hashlib
import pwd
import stat
from typing import TYPE_CHECKING, Final

from proxy.errors import Finding
from proxy.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.settings import Settings

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def profiles_digest(folders: Iterable[Path]) -> str:
    """Of every profile in `folders`: what `sha256sum *.yaml | sha256sum` says of one folder (in the C locale)."""
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            whole.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def pin_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Profiles that are not the pinned ones. Reads them."""
    if settings.profiles_digest is None:
        return
    try:
        found = profiles_digest(settings.profiles)
    except OSError as error:
        yield ("profiles_digest",), f"a profile cannot be read: {error.strerror}"
        return
    if found != settings.profiles_digest:
        yield ("profiles_digest",), f"the profiles are others: {found}"


def open_files(config: Path, settings: Settings) -> Iterator[Path]:
    """Files and directories that decide, and that other accounts may write."""
    for path in (config, *_deciding(settings)):
        try:
            if path.stat().st_mode & OTHERS_WRITE:
                yield path
        except OSError:
            continue  # whoever reads it says so


def owners(config: Path | None, settings: Settings) -> Iterator[str]:
    """Whose the files of settings, policies and profiles are: as `uid:N`, and by name where it has one."""
    files = (*_deciding(settings), *(() if config is None else (config,)))
    for uid in sorted({path.stat().st_uid for path in files if path.exists()}):
        yield from names_of(uid)


def names_of(uid: int) -> Iterator[str]:
    """A user of this machine: as `uid:N`, and by name where it has one."""
    yield f"uid:{uid}"
    with contextlib.suppress(KeyError):
        yield pwd.getpwuid(uid).pw_name


def _deciding(settings: Settings) -> Iterator[Path]:
    yield from settings.policies.files
    if settings.policies.candidate is not None:
        yield from settings.policies.candidate.files
    for folder in settings.profiles:
        yield from (folder, *sorted(folder.glob("*.yaml")))


def open_file_findings(config: Path, settings: Settings) -> Iterator[Finding]:
    """Those files as mistakes, in the modes that refuse them."""
    if settings.mode is not Mode.REFERENCE:
        for path in open_files(config, settings):
            message = f"other accounts may write it, which is refused in mode {settings.mode}: chmod go-w"
            yield Finding(str(path), 1, "(file)", message)
