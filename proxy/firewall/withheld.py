"""The one fault of this package."""

from __future__ import annotations


class WithheldError(Exception):
    """A body that cannot be checked; the caller cuts the answer. The text is ours, never the upstream's."""
