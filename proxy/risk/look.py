"""What the rules look at: the texts of one call, decoded once. Bounded, linear, no regexes (I-08). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

import ahocorasick_rs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxy.model import Action, RequestHead
    from proxy.risk.circumstances import Circumstances, Use
    from proxy.risk_settings import RiskSettings

_WORD: Final = bytes(c if (c < 128 and chr(c).isalnum()) or chr(c) in "_-+/." else 32 for c in range(256))  # noqa: PLR2004  # ASCII
_ESCAPE: Final = "\\u"
_HEX: Final = frozenset("0123456789abcdefABCDEF")
PLAIN_ENCODINGS: Final = frozenset({"", "identity"})
KNOWN_PREFIXES: Final = (
    "AIza", "AKIA", "ASIA", "ghp_", "gho_", "ghs_", "ghu_", "github_pat_", "glpat-", "hf_", "npm_", "pypi-",
    "rk_live_", "sk-", "sk_live_", "xoxb-", "xoxp-",
)  # fmt: skip
"""Beginnings of widespread tokens, also where no profile for them is enabled. Source: each vendor's documentation."""
MIN_PREFIX: Final = 3
MIN_REST: Final = 16


class SecretShapes:
    """Finds what looks like a secret of a known vendor; `prefixes` are those of the enabled profiles."""

    def __init__(self, prefixes: Iterable[str] = ()) -> None:
        known = {*KNOWN_PREFIXES, *(prefix for prefix in prefixes if len(prefix) >= MIN_PREFIX)}
        self._automaton: Final = ahocorasick_rs.AhoCorasick(
            sorted(known), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        )

    def within(self, text: str) -> bool:
        """Whether one of the prefixes begins a word, and at least 16 characters like a token's follow."""
        for _, start, end in self._automaton.find_matches_as_indexes(text):
            if start and (text[start - 1].isalnum() or text[start - 1] == "_"):
                continue
            if _random(text[end : end + MIN_REST]):
                return True
        return False


def _random(rest: str) -> bool:
    """Whether it looks like the rest of a token rather than like words."""
    plain = rest.replace("-", "").replace("_", "")
    if len(rest) != MIN_REST or not plain.isalnum():
        return False
    return not plain.isalpha() or not (plain.islower() or plain.isupper())


@dataclass(frozen=True)
class Call:
    """One call as the rules see it.

    Attributes:
        head: canonical, without credentials.
        body: whole; None where it is not held, or there is none.
        use: its profile and operation.
        awaited: the body is still to come, and will be looked at.
        mask: takes stand-ins out of a text; they are harmless.
    """

    head: RequestHead
    body: bytes | None
    use: Use
    action: Action
    now_ms: int
    circumstances: Circumstances
    settings: RiskSettings
    shapes: SecretShapes
    awaited: bool = False
    mask: Callable[[str], str] = str

    @property
    def body_unseen(self) -> bool:
        """Whether there is more of the body than can be looked at."""
        if not self.head.has_body or self.awaited:
            return False
        encoding = (self.head.header("content-encoding") or "").strip().lower()
        return self.body is None or len(self.body) > self.settings.look_bytes or encoding not in PLAIN_ENCODINGS

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Path, query, headers and as much of the body as is looked at, each decoded once."""
        head = self.head
        texts = [unquote(head.path), unquote_plus(head.query or ""), *(value for _, value in head.headers)]
        if self.body:
            texts.append(self._body_text(self.body[: self.settings.look_bytes]))
        return tuple(self.mask(text) for text in texts if text)

    def _body_text(self, body: bytes) -> str:
        text = body.decode("utf-8", "replace")
        if (self.head.header("content-type") or "").startswith("application/x-www-form-urlencoded"):
            return unquote_plus(text)
        return unescaped(text) if _ESCAPE in text else text

    @cached_property
    def words(self) -> tuple[bytes, ...]:
        """Runs of letters, digits and `_-+/.` in all texts."""
        return tuple(word for text in self.texts for word in text.encode("utf-8", "replace").translate(_WORD).split())


def unescaped(text: str) -> str:
    """With JSON's escapes of four digits as the characters they stand for. Source: RFC 8259, section 7."""
    first, *rest = text.split(_ESCAPE)
    pieces = [first]
    for piece in rest:
        digits = piece[:4]
        known = len(digits) == 4 and _HEX.issuperset(digits)  # noqa: PLR2004  # hexadecimal digits of an escape
        pieces.append(chr(int(digits, 16)) + piece[4:] if known else _ESCAPE + piece)
    return "".join(pieces)
