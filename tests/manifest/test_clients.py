"""Stock clients read the manifest with nothing but their proxy variables."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson
import pytest
import pytest_asyncio

from tests.control.conftest import controlled
from tests.rig.process import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT = "http://briefcased.internal"
