"""W-21: what each mode does about every knob, row by row of docs/modes.md; the rules are tried in `test_checks.py`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proxy.catalog.configuration import load_configuration
from proxy.catalog.modes import GA_REFUSES, STAGING_REFUSES
from proxy.db.engine import DATABASE, open_database, writing
from proxy.errors import BriefcaseError, ConfigError
from proxy.model import Mode, Strength
from proxy.policy_settings import PolicySettings
from proxy.risk.score import Risk
from proxy.risk_settings import RiskSettings
from proxy.settings import Settings
from tests.docs import pages
from tests.docs.test_configuration import keys
from tests.rig import running_rig
from tests.rig.sidecar import EXAMPLE

if TYPE_CHECKING:
    from tests.rig import Rig

HERE = "tests/catalog/test_w21_modes.py"
FILES = "tests/catalog/test_modes.py"
PROOFS = {
    "TLS of providers not verified": (HERE, "test_nothing_switches_the_verification_of_tls_off"),
    "agents without a token": (HERE, "test_what_no_mode_lets_through"),
    "files that others may write, an open state directory": (FILES, "test_files_that_others_may_write"),
    "mistakes in policies or profiles": (HERE, "test_mistakes_are_refused_in_every_mode"),
    "unknown status of a verifiable credential": (
        "tests/credentials/vc/test_vc_kind.py", "test_p5_in_ga_nobody_is_asked_about_an_unknown_status",
    ),
    "a risky call, where `risk` has no thresholds": (HERE, "test_the_thresholds_of_a_mode"),
    "a risk classifier that does not answer": ("tests/risk/test_classifier.py", "test_i12_an_answer_that_is_not_one_counts_as_the_highest"),
    "a token that is not bound to a key although its profile wants that": (
        "tests/credentials/oauth/test_certified.py", "test_a_downgrade_to_bearer_is_refused_even_where_the_type_is_allowed",
    ),
    "keys for AWS in the process's environment, for its secret stores": ("tests/secretstore/test_aws_logins.py", "test_in_ga_no_keys_come_from_the_environment"),
    "answers that cannot be searched for secrets": ("tests/engine/test_streaming.py", "response_withheld"),
    "receipts that cannot be written": (HERE, "test_what_no_mode_lets_through"),
    "secrets that cannot be read at the start": (HERE, "test_a_secret_that_cannot_be_read_at_the_start"),
}  # fmt: skip
"""Of each row without a rule: the file and what stands in it."""
COMPARED = {
    "proxy/catalog/modes.py": "the rules",
    "proxy/catalog/pinning.py": "files that others may write",
    "proxy/cli/closed.py": "an open state directory",
    "proxy/confine/probe/standing.py": "unchecked_confinement",
    "proxy/pipeline.py": "unknown status of a verifiable credential",
    "proxy/policy_settings.py": "open_policies, told_widenings",
    "proxy/risk_settings.py": "a risky call",
    "proxy/secretstore/aws_asking.py": "keys for AWS",
    "proxy/services.py": "secrets that cannot be read at the start",
    "proxy/settings.py": "the default",
}
"""Where code asks which mode it is, and for which row: nothing else can depend on it."""


def rows() -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in pages.table(pages.text("modes.md"), "knob")}


def test_every_row_is_held_by_a_rule_or_a_test() -> None:
    ruled = {knob for knob, row in rows().items() if row[3].strip("`") in GA_REFUSES}
    assert len(ruled) == len(GA_REFUSES)
    assert rows().keys() - ruled == PROOFS.keys()
    for file, text in PROOFS.values():
        assert re.search(rf"\b{text}\b", (pages.ROOT / file).read_text()), file


def test_the_mode_is_compared_nowhere_else() -> None:
    code = (path for folder in ("proxy", "addons", "certs") for path in (pages.ROOT / folder).rglob("*.py"))
    comparing = (path for path in code if re.search(r"\bMode\.(GA|STAGING|REFERENCE)\b", path.read_text()))
    assert {str(path.relative_to(pages.ROOT)) for path in comparing} == COMPARED.keys()


def test_nothing_switches_the_verification_of_tls_off() -> None:
    """The one `tls: off` there is concerns a database, and is a row of its own; a listener's TLS is towards agents."""
    named = [key for key in keys(Settings) if re.search(r"verif|insecure|tls", key)]
    listening = [f"listeners.more[].tls.{name}" for name in ("certificate", "key", "trust_bundles", "trust_bundles{}")]
    assert [key for key in named if key not in listening] == ["state.shared.tls"]
    assert {"plain_database", "plain_upstreams"} <= STAGING_REFUSES


def settled(mode: Mode, key: Path) -> dict[str, Any]:
    """Settings that all modes take; there is no provider to be reached."""
    return {
        "mode": mode.value,
        "confinement": {"required": False},
        "providers": {"example": {"accounts": {"main": {"secrets": {"api_key": f"file:{key}"}}}}},
        "policies": {"preset": "standard"},
        "egress": {},
    }


@pytest.mark.parametrize("mode", Mode)
async def test_what_no_mode_lets_through(tmp_path: Path, mode: Mode) -> None:
    key = tmp_path / "key"
    key.write_text("sk-example-REAL-0123456789abcdefghij")
    profiles = {"example": EXAMPLE}
    async with running_rig(tmp_path, settings=settled(mode, key), profiles=profiles) as rig:
        host = f"api.example.test:{rig.provider.port}"
        assert (await raw(rig, host, "")).startswith(b"HTTP/1.1 407 ")
        assert (await raw(rig, host, "Proxy-Authorization: Bearer wrong\r\n")).startswith(b"HTTP/1.1 407 ")
        assert b"destination_not_allowed" in await raw(rig, "unmanaged.example.test:443", rig.credentials())
        database = open_database(rig.home / DATABASE)
        with writing(database) as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER full BEFORE INSERT ON receipts BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
        database.dispose()
        assert (await rig.call("GET", "/x")).problem == "receipt_unavailable"
        assert rig.provider.connections == 0


async def raw(rig: Rig, host: str, credentials: str) -> bytes:
    import asyncio

    reader, writer = await asyncio.open_connection(*rig.sidecar.proxy)
    writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{credentials}\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", answer.lower())
        answer += await reader.readexactly(int(size[1]) if size else 0)
    writer.close()
    return answer


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("broken", ["policy", "profile"])
def test_mistakes_are_refused_in_every_mode(tmp_path: Path, mode: Mode, broken: str) -> None:
    (tmp_path / "mine").mkdir()
    profile = tmp_path / "mine" / "example.yaml"
    profile.write_text(EXAMPLE.format(port=443) + ("nonsense: 1\n" if broken == "profile" else ""))
    cedar = tmp_path / "own.cedar"
    cedar.write_text("permit (principal, action, resource)" + ("" if broken == "policy" else ";"))
    file = tmp_path / "briefcased.yaml"
    file.write_text(
        f"version: 1\nmode: {mode}\nconfinement: {{required: false}}\nprofiles: [mine]\npolicies: {{files: [own.cedar]}}\n"
    )
    for path in (profile.parent, profile, cedar, file):
        path.chmod(0o700)
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    wanted = cedar if broken == "policy" else profile
    assert str(wanted) in {finding.file for finding in found.value.findings}


@pytest.mark.parametrize("mode", Mode)
async def test_a_secret_that_cannot_be_read_at_the_start(tmp_path: Path, mode: Mode) -> None:
    settings = settled(mode, tmp_path / "gone")
    if mode is Mode.GA:
        with pytest.raises(BriefcaseError, match="mode ga needs every secret"):
            async with running_rig(tmp_path, settings=settings, profiles={"example": EXAMPLE}):
                pass
        return
    async with running_rig(tmp_path, settings=settings, profiles={"example": EXAMPLE}) as rig:
        assert rig.sidecar.checks()["listening"]


@pytest.mark.parametrize(
    ("mode", "preset", "confirms", "at_50", "at_80"),
    [
        (Mode.REFERENCE, "open", False, Strength.NONE, Strength.NONE),
        (Mode.STAGING, "standard", True, Strength.APPROVAL, Strength.STRONG),
        (Mode.GA, "standard", True, Strength.APPROVAL, Strength.STRONG),
    ],
)
def test_the_thresholds_of_a_mode(mode: Mode, preset: str, confirms: bool, at_50: Strength, at_80: Strength) -> None:
    assert PolicySettings().chosen(mode) == preset
    assert PolicySettings().confirms(mode) is confirms
    assert PolicySettings(widening="tell").confirms(mode) is False
    thresholds = RiskSettings().thresholds("any", mode)
    assert (Risk(49).strength(thresholds), Risk(50).strength(thresholds)) == (Strength.NONE, at_50)
    assert Risk(80).strength(thresholds) is at_80
