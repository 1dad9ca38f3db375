"""git over https with Basic, through the shipped GitHub profile, against a real git server."""

from __future__ import annotations

import base64
import contextlib

import pytest

from tests.clients.conftest import REAL
from tests.fakes.git_server import IDENTITY, GitServer

REPOSITORY = "acme/widgets.git"
RIGHT = f"Basic {base64.b64encode(f'x-access-token:{REAL}'.encode()).decode()}"


@pytest.fixture
def forge(shipped_client, tmp_path):
    """A client, and the server that it may reach."""

    @contextlib.asynccontextmanager
    async def opened():
        async with shipped_client("github", "token", "github.com") as client:
            server = GitServer(tmp_path / "repositories")
            (server.root / "acme").mkdir(parents=True)
            server.create(REPOSITORY)
            server.serve(client.rig.provider, REPOSITORY, user="x-access-token", password=REAL)
            yield client, server

    return opened


def clone(base: str, stand_in: str) -> dict[str, list[str]]:
    """Every usual way in which an agent brings a token to git, and none."""
    url = f"{base}/{REPOSITORY}"
    basic = base64.b64encode(f"x-access-token:{stand_in}".encode()).decode()
    helper = f"!printf 'username=ada\\npassword={stand_in}\\n'"
    return {
        "in the URL": ["clone", url.replace("https://", f"https://ada:{stand_in}@")],
        "by a helper": ["-c", f"credential.helper={helper}", "clone", url],
        "in a header": ["-c", f"http.extraHeader=Authorization: Basic {basic}", "clone", url],
        "not at all": ["clone", url],
    }


@pytest.mark.parametrize("way", clone("", ""))
async def test_p1_git_clones_with_a_stand_in(forge, way):
    async with forge() as (client, _):
        arguments = clone(client.rig.base, client.rig.stand_in("github"))[way]
        ended = await client.run("git", *arguments, "here", GIT_TERMINAL_PROMPT="0")
        assert ended.code == 0, ended.err
        assert (client.home / "here" / "README").read_text() == "hello from the server\n"
        seen = client.rig.provider.requests
        assert [one.method for one in seen] == ["GET", "POST", "POST"]
        assert all(one.all("authorization") == [RIGHT] for one in seen)
        assert REAL not in (client.home / "here" / ".git" / "config").read_text()
        calls = await client.rig.settled(3)
        assert {call.decision["action"] for call in calls} == {"read"}


async def test_p1_git_pushes_with_a_stand_in(forge):
    async with forge() as (client, server):
        arguments = clone(client.rig.base, client.rig.stand_in("github"))["in the URL"]
        for command in (
            [*arguments, "here"],
            ["-C", "here", "commit", "--quiet", "--allow-empty", "-m", "from the agent"],
            ["-C", "here", "push", "origin", "main"],
        ):
            ended = await client.run("git", *command, GIT_TERMINAL_PROMPT="0", **IDENTITY)
            assert ended.code == 0, ended.err
        assert server.log(REPOSITORY) == ["from the agent", "first"]
        assert all(one.all("authorization") == [RIGHT] for one in client.rig.provider.requests)
        calls = await client.rig.settled(5)
        assert [call.decision["operation"] for call in calls][-2:] == ["git.push_refs", "git.push"]


async def test_a_push_of_several_megabytes_streams_through(forge):
    async with forge() as (client, server):
        arguments = clone(client.rig.base, client.rig.stand_in("github"))["in the URL"]
        await client.run("git", *arguments, "here")
        (client.home / "here" / "large").write_bytes(
            b"".join(n.to_bytes(4) + bytes([n % 251]) * 8 for n in range(400_000))
        )
        for command in (["add", "large"], ["commit", "--quiet", "-m", "large"], ["push", "origin", "main"]):
            settings = ["-c", "core.compression=0", "-c", "core.looseCompression=0", "-c", "pack.compression=0"]
            ended = await client.run("git", *settings, "-C", "here", *command, **IDENTITY)
            assert ended.code == 0, ended.err
        assert server.log(REPOSITORY)[0] == "large"
        assert client.rig.provider.last.one("transfer-encoding") == "chunked"
