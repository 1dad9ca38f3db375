"""`briefcased up` behind a service manager that has opened its sockets (sd_listen_fds(3))."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import yaml

from tests.rig.process import configured

SCRIPT = 'exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=agents:base "$0" -m proxy up --config "$1"'


@pytest.mark.slow
async def test_sockets_of_a_service_manager_are_served_by_name(tmp_path):
    import asyncio

    import httpx

    async with configured(tmp_path) as up:
        written = yaml.safe_load(up.config.read_text())
        written["listeners"] = {
            "proxy": "systemd:agents",
            "control": "127.0.0.1:0",
            "more": [{"at": "systemd:base", "kind": "base_url", "agent": "tester"}],
        }
        up.config.write_text(yaml.safe_dump(written))
        with socket.create_server(("127.0.0.1", 0)) as agents, socket.create_server(("127.0.0.1", 0)) as base:
            saved = [os.dup(agents.fileno()), os.dup(base.fileno())]

            def place() -> None:
                high = [os.dup2(number, 100 + at) for at, number in enumerate(saved)]
                for at, number in enumerate(high):
                    os.dup2(number, 3 + at)

            process = subprocess.Popen(
                ["sh", "-c", SCRIPT, sys.executable, str(up.config)],
                env=up.environment, stderr=(tmp_path / "log").open("wb"), preexec_fn=place, close_fds=False,  # noqa: PLW1509
            )  # fmt: skip
            try:
                state = up.home / "sidecar.json"
                async with asyncio.timeout(30):
                    while not state.exists():
                        assert process.poll() is None, (tmp_path / "log").read_text()
                        await asyncio.sleep(0.05)
                told = json.loads(state.read_text())
                assert (told["proxy"], told["more"]) == ("systemd:agents", ["systemd:base"])
                port = base.getsockname()[1]
                async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
                    assert (await http.get(f"http://127.0.0.1:{port}/example/x")).status_code == 200
                said = up.command("env", "--agent", "tester", "--config", str(up.config))
                assert "listen on HOST:PORT" in said.stderr
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait, 30)
                for number in saved:
                    os.close(number)
