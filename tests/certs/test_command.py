"""`briefcased ca` over a real state directory."""

from __future__ import annotations

import json
import stat

import pytest
from cryptography import x509
from typer.testing import CliRunner

from certs.roots import fingerprint
from proxy.cli.ca import app
from proxy.errors import BriefcaseError


@pytest.fixture
def briefcased(tmp_path):
    def run(*words, expect=0):
        done = CliRunner().invoke(app, words, env={"BRIEFCASED_HOME": str(tmp_path / "home")})
        assert done.exit_code == expect, done.output
        return done

    return run


def test_show_bundle_and_rotate(briefcased, tmp_path):
    (first,) = json.loads(briefcased("show", "--json").stdout)
    assert first["state"] == "signing"
    assert first["fingerprint"] in briefcased("show").stdout
    pem = briefcased("bundle").stdout
    assert fingerprint(x509.load_pem_x509_certificate(pem.encode())) == first["fingerprint"]
    rotated = json.loads(briefcased("rotate", "--json", "--overlap-days", "2").stdout)
    assert [(root["state"], root["fingerprint"] == first["fingerprint"]) for root in rotated] == [
        ("signing", True),
        ("next", False),
    ]
    assert rotated[1]["signs_from_ms"] < rotated[0]["trusted_until_ms"]
    out = tmp_path / "bundle.pem"
    briefcased("bundle", "--output", str(out), "--merged")
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert out.read_text().count("BEGIN CERTIFICATE") > 100
    described = json.loads(briefcased("bundle", "--json").stdout)
    assert described["fingerprints"] == [root["fingerprint"] for root in rotated]
    assert described["pem"].count("BEGIN CERTIFICATE") == 2
    assert isinstance(briefcased("rotate", expect=1).exception, BriefcaseError)  # the entry point prints it
    assert len(json.loads(briefcased("rotate", "--overlap-days", "0", "--json").stdout)) == 1
    assert "PRIVATE" not in pem


def test_p1_no_command_shows_a_key_or_the_passphrase(briefcased, tmp_path):
    shown = [briefcased(*words) for words in (["show"], ["bundle", "--json"], ["rotate"])]
    passphrase = (tmp_path / "home" / "ca" / "passphrase").read_text().strip()
    for done in shown:
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        assert passphrase not in done.stdout + done.stderr
