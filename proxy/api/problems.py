"""What the control API answers where it does not do what was asked: RFC 9457. Documented in `docs/api.md`.

Nothing in it comes from the request, a library or the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASE: Final = "urn:briefcased:api:"
CONTENT_TYPE: Final = "application/problem+json"
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "No valid operator token was sent"),
    "forbidden": (403, "Your role does not allow this"),
    "own_request": (403, "Nobody decides about a call or a key of their own"),
    "not_proven": (403, "The signature does not prove who answers"),
    "origin_refused": (403, "Web pages cannot use this API"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "Another method is needed here"),
    "conflict": (409, "Its state does not allow this"),
    "strong_factor_required": (409, "This needs a signature"),
    "too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be application/json"),
    "misdirected": (421, "This API does not answer under that Host"),
    "invalid_request": (422, "The request does not have the right form"),
    "throttled": (429, "Too many wrong tokens, streams or comparisons"),
    "internal": (500, "The call failed here"),
    "unavailable": (503, "This cannot be done now"),
}
"""Status and title by slug."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer of that kind. `errors` are places in the request, and what is wrong there, without its values."""

    slug: str
    detail: str | None = None
    retry_after_s: int | None = None
    errors: Sequence[tuple[str, str]] = ()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return PROBLEMS[self.slug][0]

    def document(self) -> bytes:
        """As JSON."""
        status, title = PROBLEMS[self.slug]
        value: dict[str, object] = {"type": BASE + self.slug, "title": title, "status": status}
        if self.detail is not None:
            value["detail"] = self.detail
        if self.errors:
            value["errors"] = [{"path": path, "message": message} for path, message in self.errors]
        return orjson.dumps(value)


class ProblemError(Exception):
    """Ends a call with a problem."""

    def __init__(
        self,
        slug: str,
        detail: str | None = None,
        *,
        retry_after_s: int | None = None,
        errors: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(slug)
        self.problem: Final = Problem(slug, detail, retry_after_s, errors)
