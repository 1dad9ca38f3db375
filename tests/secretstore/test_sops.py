"""`sops:` with SOPS itself, whose files are encrypted to an age identity: https://github.com/getsops/sops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from proxy.secretstore import SecretUnavailableError
from proxy.services import secret_stores
from proxy.settings import Settings
from tests.secretstore.benches import SetClock

SOPS = Path(sys.executable).with_name("sops")
# Two pairs that age-keygen made for these tests.
RECIPIENT = "age1r6l9h9kppfr2y6qpf92fslzretvyetevj0grqjg3h7d6n9pjagcssk3836"
IDENTITY = "AGE-SECRET-KEY-1YQ7UVZZCPAKTEHLHAN6FNNSAG4W44DTSZSZ00XMHLAFA4G2FTA6SMEASU2"
OTHER = "AGE-SECRET-KEY-1VWZSRVQUHQ9FATYRTW4T2U80FCFZS6YHR5FF6Z34NF9009HJNA0Q5YHMF2"
VALUE = "the-value-of-the-secret"
YAML = f"""\
github:
  token: {VALUE}
  tokens: [the-first-of-two, the-second-of-two]
  app: '{{"private_key": "{VALUE}"}}'
"""
FILES = {
    "app.yaml": YAML,
    "app.json": orjson.dumps({"github": {"token": VALUE, "1": "under-a-digit"}}).decode(),
    "app.env": f"GITHUB_TOKEN={VALUE}\n",
    "app.ini": f"[github]\ntoken = {VALUE}\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files, encrypted in place."""
    folder = tmp_path_factory.mktemp("sops")
    for name, text in FILES.items():
        (folder / name).write_text(text)
        subprocess.run([SOPS, "--encrypt", "--in-place", "--age", RECIPIENT, name], cwd=folder, check=True, timeout=20)
        assert VALUE not in (folder / name).read_text()
    return folder


def stores_of(folder, identity=IDENTITY, **section):
    own = {"command": str(SOPS), "age_key": "env:IDENTITY", **section}
    settings = Settings.model_validate_json(orjson.dumps({"version": 1, "secret_stores": {"sops": own}}))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "IDENTITY": identity}
    return secret_stores(settings, home=folder, environment=environment, clock=SetClock(), passphrase=None)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("app.yaml#github.token", VALUE),
        ("app.yaml#github.tokens.1", "the-second-of-two"),
        ("app.yaml#github.app", f'{{"private_key": "{VALUE}"}}'),
        ("app.json#github.token", VALUE),
        ("app.env#GITHUB_TOKEN", VALUE),
        ("app.ini#github.token", VALUE),
    ],
)
async def test_sops_gives_one_value_of_each_of_its_formats(folder, place, value):
    assert (await stores_of(folder).get(f"sops:{folder}/{place}")).reveal() == value.encode()


async def test_p5_sops_gives_nothing_for_another_identity_or_place_or_a_changed_file(folder, tmp_path, caplog):
    changed = (folder / "app.json").read_text().replace("ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:A", 1)
    (tmp_path / "changed.json").write_text(changed)
    moved = orjson.loads((folder / "app.json").read_bytes())  # a value under the name of another
    moved["github"]["1"] = moved["github"]["token"]
    (tmp_path / "moved.json").write_bytes(orjson.dumps(moved))
    (tmp_path / "plain.yaml").write_text(YAML)
    for identity, place in (
        (OTHER, f"{folder}/app.yaml#github.token"),
        (IDENTITY, f"{folder}/app.yaml#github.other"),
        (IDENTITY, f"{folder}/app.yaml#github.tokens.2"),
        (IDENTITY, f"{folder}/none.yaml#github.token"),
        (IDENTITY, f"{tmp_path}/changed.json#github.token"),
        (IDENTITY, f"{tmp_path}/moved.json#github.token"),
        (IDENTITY, f"{tmp_path}/plain.yaml#github.token"),
    ):
        with pytest.raises(SecretUnavailableError) as failed:
            await stores_of(tmp_path, identity).get(f"sops:{place}")
        assert "sops ended with" in failed.value.reason, place
        for hidden in (VALUE, identity):
            assert hidden not in failed.value.reason + caplog.text
