"""What handlers of the control API work with, where a test has some of it alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from proxy.api.call import ApiServices


def services(**given: Any) -> ApiServices:
    """With what is `given`; all else is None, and whatever asks for it fails."""
    assert given.keys() <= {one.name for one in fields(ApiServices)}
    return ApiServices(**{one.name: given.get(one.name) for one in fields(ApiServices)})
