"""Why a program cannot be confined."""

from __future__ import annotations

from proxy.errors import BriefcaseError


class ConfineError(BriefcaseError):
    """The kernel, or what it allows this user, is not enough; the text says what is missing."""
