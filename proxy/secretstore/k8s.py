"""`k8s:SECRET/KEY`: a secret that Kubernetes mounts, whole or not at all when it changes. See docs/stores/k8s.md.

A mounted secret is a directory whose `..data` is a symbolic link to the directory of the version in force; the kubelet
turns the link in one step. Source: Kubernetes, `AtomicWriter`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.secret import Secret
from proxy.secretstore.store import SecretUnavailableError, stripped

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 1024 * 1024
"""Of a secret: what Kubernetes allows."""
DATA: Final = "..data"
_PLACE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")


class MountedStore:
    """Reads keys below `directory/SECRET/`, all of one version, again only when the version changed."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._known: Final[dict[str, tuple[str, dict[str, Secret]]]] = {}

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A secret's name and one of its keys."""
        return None if _PLACE.fullmatch(place) else "k8s: takes SECRET/KEY, as in k8s:github/token"

    async def get(self, place: str) -> Secret:
        """The value of the key, in the version in force."""
        name, _, key = place.partition("/")
        mount = self._directory / name
        for _ in range(2):  # the version may be replaced, and its directory removed, while it is read
            try:
                version = str((mount / DATA).readlink())
                if "/" in version or version in (".", ".."):
                    raise SecretUnavailableError("k8s", f"{mount} is not a mounted secret")
                known = self._known.get(name)
                if known is None or known[0] != version:
                    known = self._known[name] = (version, _read(mount / version, name))
                break
            except OSError as error:
                failure = SecretUnavailableError("k8s", f"{mount}: {error.strerror}")
        else:
            raise failure
        if key not in known[1]:
            raise SecretUnavailableError("k8s", f"{mount} has no key {key}")
        return known[1][key]


def _read(directory: Path, name: str) -> dict[str, Secret]:
    found, left = {}, MAX_BYTES
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        left -= path.stat().st_size
        if left < 0:
            raise SecretUnavailableError("k8s", f"{name} is larger than {MAX_BYTES} bytes")
        found[path.name] = Secret(f"k8s:{name}/{path.name}", stripped(path.read_bytes()))
    return found
