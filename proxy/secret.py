"""`Secret`: a value that refuses to be shown."""

from __future__ import annotations

from typing import Final, NoReturn


class SecretExposedError(TypeError):
    """Code tried to format, print, copy or serialise a secret."""


class Secret:
    """Bytes that only `reveal()` gives out.

    `repr` shows the name. `str`, `format`, iteration, JSON and pickle raise: masking would turn a bug into a wrong
    header, raising turns it into a failed test. `reveal()` belongs to the wire and to credential kinds that sign;
    `tests/test_secret.py` lists its call sites.
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: bytes | str) -> None:
        self.name: Final = name
        # The environment hands bytes that are not UTF-8 out as surrogates (PEP 383).
        self._value: Final = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The value itself."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def _refuse(self) -> NoReturn:
        raise SecretExposedError(f"secret {self.name!r} must not be turned into text")

    def __str__(self) -> str:
        self._refuse()

    def __format__(self, spec: str) -> str:
        self._refuse()

    def __bytes__(self) -> bytes:
        self._refuse()

    def __iter__(self) -> NoReturn:
        self._refuse()

    def __reduce__(self) -> NoReturn:
        self._refuse()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))
