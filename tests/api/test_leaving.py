"""H-08: what speaks for an operator who is revoked ends with them, also where sidecars share it, and after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from proxy.clock import SystemClock
from proxy.identity.operators import revoke_operator
from tests.api.conftest import slug
from tests.api.test_commands import command
from tests.api.test_signed import keyed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def state(api: Api, key: str) -> str:
    listed = (await api.call("viewer", "GET", "/approver-keys")).json()["keys"]
    return str({one["id"]: one["state"] for one in listed}[key])


def configuration(api: Api, folder: Path) -> str:
    """A file that says where the sidecar's state rests."""
    file = folder / "briefcased.yaml"
    shared = api.rig.configuration.settings.state.model_dump(mode="json", exclude_none=True)
    file.write_bytes(orjson.dumps({"version": 1, "state": shared}))
    return str(file)


@pytest.mark.parametrize("way", ["api", "command"])
async def test_h_08_what_a_crash_left_of_who_was_revoked_ends_the_second_time(
    api: Api, tmp_path: Path, way: str
) -> None:
    """The crash is between what is the sidecar's own and what may be shared."""
    who = f"goer-{way}"
    key = await keyed(api, who, tmp_path / "key.pem")
    assert revoke_operator(api.database, who, clock=SystemClock())
    assert await state(api, key) == "counts"
    for last in (False, True):
        if way == "api":
            answer = await api.call("admin", "DELETE", f"/operators/{who}")
            assert answer.status_code == (404 if last else 200)
            assert not last or slug(answer) == "not_found"
        else:
            ended = await command(api, "operators", "revoke", who, "--config", configuration(api, tmp_path))
            assert (ended.code, ended.out) == ((1, "") if last else (0, f"revoked {who}\n")), ended.err
        assert await state(api, key) == "revoked"
