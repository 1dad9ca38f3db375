"""`op:`, `bw:` and `sops:` by their commands: stand-ins that take what the real ones document, and nothing else."""

from __future__ import annotations

import json
import logging
import stat
import sys

import orjson
import pytest

from proxy.secretstore import SecretUnavailableError, bad_ref
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.secretstore.benches import SetClock

VALUE = "the-value-of-the-secret"
ID = "382580ab-1368-4e85-bfa3-b02e01400c9f"
# argv and the one variable that matters must be exactly these; anything else fails as the real command does.
COMMAND = """#!{python}
import json, os, sys
known = json.load(open({known!r}))
with open({log!r}, "a") as log: log.write("ran\\n")
for argv, variable, value, output in known:
    if argv == sys.argv[1:] and os.environ.get(variable) == value:
        sys.stdout.write(output)
        sys.exit(0)
print("error: the-value-of-the-secret", file=sys.stderr)
sys.exit(1)
"""
BWS = {
    "object": "secret",
    "id": ID,
    "organizationId": "x",
    "projectId": "y",
    "key": "GITHUB",
    "value": VALUE,
    "note": "",
}
BW = {
    "object": "item", "id": ID, "type": 1, "name": "GitHub", "login": {"username": "the-user-name", "password": VALUE, "totp": None},
    "fields": [{"name": "token", "value": "value-of-a-field", "type": 1}, {"name": "twice", "value": "a" * 9}, {"name": "twice", "value": "b" * 9}],
}  # fmt: skip


class Command:
    def __init__(self, folder, name):
        self.path, self.known, self.log = folder / name, folder / f"{name}.json", folder / f"{name}.log"
        self.log.touch()
        self.path.write_text(COMMAND.format(python=sys.executable, known=str(self.known), log=str(self.log)))
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)
        self.takes()

    def takes(self, *calls):
        self.known.write_text(json.dumps(calls))

    @property
    def runs(self):
        return len(self.log.read_text().splitlines())


def stores_of(folder, clock=None, **sections):
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": sections}))
    connect = {"OP_CONNECT_HOST": "https://connect.test", "OP_CONNECT_TOKEN": "of-another-account"}
    environment = {"PATH": "/usr/bin:/bin", "LOGIN": "login-of-the-sidecar", **connect}
    return secret_stores(settings, home=folder, environment=environment, clock=clock or SetClock(), passphrase=None)


async def failure(stores, ref):
    with pytest.raises(SecretUnavailableError) as failed:
        await stores.get(ref)
    return str(failed.value)


async def test_op_reads_a_secret_reference(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    op = Command(tmp_path, "op")
    op.takes((["read", "--no-newline", "op://Agents/GitHub/login/token"], "OP_SERVICE_ACCOUNT_TOKEN", "login-of-the-sidecar", VALUE))  # fmt: skip
    clock = SetClock()
    stores = stores_of(tmp_path, clock, op={"command": str(op.path), "token": "env:LOGIN", "ttl_s": 60})
    for _ in range(3):
        assert (await stores.get("op:Agents/GitHub/login/token")).reveal() == VALUE.encode()
    assert op.runs == 1
    told = await failure(stores, "op:Agents/GitHub/other")
    assert await failure(stores, "op:Agents/GitHub/other") == told
    assert op.runs == 2
    assert VALUE not in told + caplog.text
    op.takes()
    clock.now_s += 61
    await failure(stores, "op:Agents/GitHub/login/token")


async def test_op_is_asked_with_the_login_of_the_settings_and_no_other(tmp_path):
    op = Command(tmp_path, "op")
    op.takes((["read", "--no-newline", "op://Agents/GitHub/token"], "OP_CONNECT_TOKEN", None, VALUE))
    stores = stores_of(tmp_path, op={"command": str(op.path), "token": "env:LOGIN"})
    assert (await stores.get("op:Agents/GitHub/token")).reveal() == VALUE.encode()
    await failure(stores_of(tmp_path, op={"command": str(op.path)}), "op:Agents/GitHub/token")  # as it is set up


async def test_bws_gives_a_secret_of_the_secrets_manager(tmp_path):
    bws = Command(tmp_path, "bws")
    bws.takes((["secret", "get", ID], "BWS_ACCESS_TOKEN", "login-of-the-sidecar", json.dumps(BWS)))
    stores = stores_of(tmp_path, bw={"command": str(bws.path), "token": "env:LOGIN"})
    assert (await stores.get(f"bw:{ID}")).reveal() == VALUE.encode()


async def test_bw_gives_the_fields_of_an_item(tmp_path):
    bw = Command(tmp_path, "bw")
    bw.takes((["--nointeraction", "get", "item", ID], "BW_SESSION", "login-of-the-sidecar", json.dumps(BW)))
    own = {"product": "password_manager", "command": str(bw.path), "session": "env:LOGIN"}
    stores = stores_of(tmp_path, bw=own)
    assert (await stores.get(f"bw:{ID}")).reveal() == VALUE.encode()
    assert (await stores.get(f"bw:{ID}#username")).reveal() == b"the-user-name"
    assert (await stores.get(f"bw:{ID}#token")).reveal() == b"value-of-a-field"
    for field in ("totp", "nothing", "twice"):
        assert VALUE not in await failure(stores, f"bw:{ID}#{field}")


@pytest.mark.parametrize(
    "output", ["", "[]", "{", "null", json.dumps(BWS | {"id": "another"}), json.dumps(BWS | {"value": 7}), "x" * 70_000]
)
async def test_p5_what_is_not_the_secret_that_was_asked_for_is_refused(tmp_path, output):
    bws = Command(tmp_path, "bws")
    bws.takes((["secret", "get", ID], "BWS_ACCESS_TOKEN", "login-of-the-sidecar", output))
    stores = stores_of(tmp_path, bw={"command": str(bws.path), "token": "env:LOGIN"})
    assert VALUE not in await failure(stores, f"bw:{ID}")


async def test_sops_extracts_one_value(tmp_path):
    sops = Command(tmp_path, "sops")
    file = str(tmp_path / "app.enc.yaml")
    sops.takes(
        (["--decrypt", "--extract", '["github"]["tokens"][0]', file], "SOPS_AGE_KEY", "login-of-the-sidecar", VALUE)
    )
    stores = stores_of(tmp_path, sops={"command": str(sops.path), "age_key": "env:LOGIN"})
    assert (await stores.get(f"sops:{file}#github.tokens.0")).reveal() == VALUE.encode()
    assert VALUE not in await failure(stores, f"sops:{file}#github.tokens.1")
    assert "No such file" in await failure(stores_of(tmp_path, sops={"command": "/no/such/sops"}), f"sops:{file}#x")


def test_refs():
    good = (
        "op:Agents/GitHub/token",
        "op:My Vault/Git Hub/section/token",
        f"bw:{ID}",
        f"bw:{ID}#token",
        "sops:/a b/c.yaml#x.0.y",
    )
    bad = ("op:GitHub/token", "op:a/b/c/d/e", "op:--help/x/y\n", "bw:GitHub", f"bw:{ID}#", "bw:--help", "sops:a.yaml#x", "sops:/a.yaml", 'sops:/a#x"]["y', "sops:/a#")  # fmt: skip
    assert [ref for ref in good if bad_ref(ref) is not None] == []
    assert [ref for ref in bad if bad_ref(ref) is None] == []
