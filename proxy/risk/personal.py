"""Rules about personal data in what an agent sends. Linear. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.risk.look import Call

MANY: Final = 5
"""Addresses or numbers that make a list: one alone is often what a call is about."""
_DIGITS: Final = frozenset(b"0123456789")
_NUMBER: Final = bytes(c if chr(c) in "0123456789-+." else 32 if chr(c) in " ()" else 10 for c in range(256))
_ADDRESS: Final = bytes(c if (c < 128 and chr(c).isalnum()) or chr(c) in "@._%+-" else 32 for c in range(256))  # noqa: PLR2004  # ASCII
_CARD_GROUPS: Final = frozenset({(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 6, 5), (4, 6, 4)})
# Lengths of payment card numbers by their first four digits. Source: ISO/IEC 7812 and the networks' public ranges.
_CARDS: Final = (
    (range(4000, 5000), (13, 16, 19)),
    (range(5100, 5600), (16,)),
    (range(2221, 2721), (16,)),
    (range(3400, 3500), (15,)),
    (range(3700, 3800), (15,)),
    (range(6011, 6012), (16, 19)),
    (range(6440, 6600), (16, 19)),
    (range(3528, 3590), (16,)),
    (range(3000, 3060), (14,)),
    (range(3600, 3700), (14,)),
    (range(3800, 3900), (14,)),
    (range(6200, 6300), (16, 17, 18, 19)),
)
_CARD_SIZES: Final = {str(first).encode(): sizes for firsts, sizes in _CARDS for first in firsts}
MAX_CANDIDATES: Final = 500
"""Numbers that look right but for their check digits: so many do not come by chance, and count as one that is."""
# Length of an IBAN by country. Source: the IBAN registry of ISO 13616.
_IBAN_CHARS: Final = {
    country.encode(): size
    for size, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS",
        23: "AE GI IL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT",
        26: "IS TR",
        27: "FR GR IT MC MR SM",
        28: "AL AZ CY DO GT HU LB PL",
        29: "BR PS QA UA",
        30: "JO KW MU",
        31: "MT",
    }.items()
    for country in countries.split()
}
_IBAN_GROUPS: Final = 8
_SSN: Final = (3, 2, 4)
_PHONE: Final = range(8, 16)
"""Digits of an international number. Source: ITU-T E.164."""


def card_number(call: Call) -> bool:
    """A number in a card network's range whose check digit is right."""
    return _any_right((digits.decode("ascii") for line in _lines(call) for digits in _card_like(_groups(line))), luhn)


def _any_right[T](candidates: Iterator[T], right: Callable[[T], bool]) -> bool:
    return any(number >= MAX_CANDIDATES or right(one) for number, one in enumerate(candidates))


def _card_like(groups: list[bytes]) -> Iterator[bytes]:
    """Whole numbers, and groups as they are printed on cards, of a length that their first digits may have."""
    for start, group in enumerate(groups):
        sizes = _CARD_SIZES.get(group[:4])
        if sizes is None:
            continue
        if len(group) in sizes:
            yield group
        if len(group) == 4:  # noqa: PLR2004  # digits of a first group
            printed = tuple(map(len, groups[start : start + 5]))
            for count in (3, 4, 5):
                if printed[:count] in _CARD_GROUPS and sum(printed[:count]) in sizes:
                    yield b"".join(groups[start : start + count])


def luhn(digits: str) -> bool:
    """Whether the last of `digits` is their check digit. Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004  # the sum of its two digits
    return total % 10 == 0


def iban(call: Call) -> bool:
    """An account number whose check digits are right, in one word or in groups of four."""
    return _any_right(_iban_like(call.words), is_iban)


def _iban_like(words: tuple[bytes, ...]) -> Iterator[bytes]:
    for start, word in enumerate(words):
        size = _IBAN_CHARS.get(word[:2], 0)
        if size and word[2:4].isdigit():
            joined = word if len(word) != 4 else b"".join(words[start : start + _IBAN_GROUPS])  # noqa: PLR2004  # a group
            if len(joined) >= size:
                yield joined[:size]


def is_iban(text: bytes) -> bool:
    """Whether its check digits are right. Source: ISO 13616, ISO/IEC 7064 (MOD 97-10)."""
    if not text.isalnum() or not text.isascii():
        return False
    return int("".join(str(int(chr(c), 36)) for c in text[4:] + text[:4])) % 97 == 1


def ssn(call: Call) -> bool:
    """A number in the form of those of the Social Security Administration (US), in a range that was ever given out."""
    return any(_is_ssn(piece) for line in _lines(call) for piece in line.split())


def _is_ssn(piece: bytes) -> bool:
    parts = piece.split(b"-", 3)
    if tuple(map(len, parts)) != _SSN or not all(part.isdigit() for part in parts):
        return False
    area, group, serial = map(int, parts)
    return 0 < area < 900 and area != 666 and group > 0 and serial > 0  # noqa: PLR2004  # ssa.gov, "Randomization"


def email_list(call: Call) -> bool:
    """Several different e-mail addresses."""
    found: set[bytes] = set()
    for text in call.texts:
        if text.count("@") >= MANY:
            pieces = text.encode("utf-8", "replace").translate(_ADDRESS).split()
            found.update(piece.lower() for piece in pieces if _is_address(piece))
    return len(found) >= MANY


def _is_address(piece: bytes) -> bool:
    local, at, domain = piece.partition(b"@")
    return bool(local and at) and b"@" not in domain and b"." in domain.strip(b".")


def phone_list(call: Call) -> bool:
    """Several different telephone numbers in international form."""
    found: set[bytes] = set()
    for line in _lines(call):
        for piece in line.split(b"+")[1:]:
            digits = bytes(c for c in piece[:20] if c in _DIGITS)
            if len(digits) in _PHONE:
                found.add(digits)
    return len(found) >= MANY


def _lines(call: Call) -> Iterator[bytes]:
    """Runs of digits, with what separates them in numbers."""
    for text in call.texts:
        for line in text.encode("utf-8", "replace").translate(_NUMBER).split(b"\n"):
            if len(line) > 7:  # noqa: PLR2004  # no number that is looked for is shorter
                yield line


def _groups(line: bytes) -> list[bytes]:
    """Its runs of digits, without fractions: random digits after a point are no numbers of anything."""
    return [
        group for piece in line.replace(b"-", b" ").split() if b"." not in piece for group in piece.split(b"+") if group
    ]
