"""I-05, W-21: what the modes say of files: pins, permissions, and warnings before production."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from proxy.catalog.configuration import load_configuration
from proxy.catalog.modes import GA_REFUSES, STAGING_REFUSES, mode_warnings
from proxy.catalog.pinning import profiles_digest
from proxy.cli.check import check
from proxy.cli.closed import require_closed
from proxy.errors import BriefcaseError, ConfigError
from proxy.model import Mode
from proxy.settings import Settings
from tests.docs import pages
from tests.rig.sidecar import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

BASE = "version: 1\nmode: {mode}\nconfinement: {{required: false}}\nprofiles: [mine]\n"


def written(folder: Path, mode: str, pin: str | None = None) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "example.yaml").write_text(EXAMPLE.format(port=443))
    file = folder / "briefcased.yaml"
    file.write_text(BASE.format(mode=mode) + (f"profiles_digest: {pin}\n" if pin else ""))
    for path in (folder / "mine", folder / "mine" / "example.yaml", file):
        path.chmod(path.stat().st_mode & ~0o022)
    return file


def paths(file: Path) -> list[tuple[str, str]]:
    try:
        load_configuration(file)
    except ConfigError as error:
        return [(finding.file, finding.path) for finding in error.findings]
    return []


def test_profiles_are_pinned_by_what_sha256sum_says(tmp_path: Path) -> None:
    written(tmp_path, "ga")
    inner = hashlib.sha256((tmp_path / "mine" / "example.yaml").read_bytes()).hexdigest()
    outer = hashlib.sha256(f"{inner}  example.yaml\n".encode()).hexdigest()
    assert profiles_digest([tmp_path / "mine"]) == f"sha256:{outer}"


@pytest.mark.parametrize("mode", Mode)
def test_i05_a_changed_profile_is_refused_in_every_mode(tmp_path: Path, mode: Mode) -> None:
    written(tmp_path, mode)
    file = written(tmp_path, mode, profiles_digest([tmp_path / "mine"]))
    assert paths(file) == []
    with (tmp_path / "mine" / "example.yaml").open("a") as profile:
        profile.write("# one more line\n")
    assert paths(file) == [(str(file), "profiles_digest")]


def test_i05_without_a_pin_ga_refuses_and_staging_warns(tmp_path: Path) -> None:
    assert paths(written(tmp_path, "ga")) == [(str(tmp_path / "briefcased.yaml"), "profiles")]
    assert paths(written(tmp_path, "reference")) == []
    configuration = load_configuration(written(tmp_path, "staging"))
    assert [place for place, _ in mode_warnings(configuration.settings, configuration.profiles)] == [("profiles",)]


@pytest.mark.parametrize(("mode", "refused"), [("reference", False), ("staging", True), ("ga", True)])
@pytest.mark.parametrize("name", ["briefcased.yaml", "mine", "mine/example.yaml"])
def test_files_that_others_may_write(tmp_path: Path, mode: str, refused: bool, name: str) -> None:
    written(tmp_path, mode)
    file = written(tmp_path, mode, profiles_digest([tmp_path / "mine"]))
    (tmp_path / name).chmod(0o775)
    assert paths(file) == ([(str(tmp_path / name), "(file)")] if refused else [])


@pytest.mark.parametrize(("mode", "refused"), [(Mode.REFERENCE, False), (Mode.STAGING, True), (Mode.GA, True)])
def test_a_state_directory_that_others_may_enter(tmp_path: Path, mode: Mode, refused: bool) -> None:
    require_closed(tmp_path / "not-yet", mode)
    tmp_path.chmod(0o700)
    require_closed(tmp_path, mode)
    tmp_path.chmod(0o750)
    if refused:
        with pytest.raises(BriefcaseError, match="chmod 700"):
            require_closed(tmp_path, mode)
    else:
        require_closed(tmp_path, mode)


@pytest.mark.parametrize(
    ("proxy", "control", "refused"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8081", False),
        ("127.0.0.1:8080", "0.0.0.0:8081", False),
        ("unix:/run/x", "0.0.0.0:8081", False),
        ("0.0.0.0:8080", "127.0.0.1:8081", False),
        ("0.0.0.0:8080", "10.1.0.2:8081", False),
        ("10.2.0.2:8080", "10.1.0.2:8081", False),
        ("10.2.0.2:8080", "10.2.0.2:8081", True),
        ("10.2.0.2:8080", "0.0.0.0:8081", True),
        ("[fd00::2]:8080", "[::]:8081", True),
        ("0.0.0.0:8080", "0.0.0.0:8081", True),
    ],
)
def test_j07_the_control_listener_is_out_of_the_agents_reach(proxy: str, control: str, refused: bool) -> None:
    """J-07."""
    settings = Settings.model_validate({"version": 1, "listeners": {"proxy": proxy, "control": control}})
    assert bool(list(GA_REFUSES["control_among_agents"](settings, {}))) == refused
    assert "control_among_agents" in STAGING_REFUSES


def test_w21_the_table_of_knobs_says_what_the_rules_do() -> None:
    rows = {row[4].strip("`"): row for row in pages.table(pages.text("modes.md"), "knob")}
    assert GA_REFUSES.keys() <= rows.keys()
    for name in GA_REFUSES:
        _, reference, staging, ga, _ = rows[name]
        assert ga.startswith("refused"), name
        assert staging.startswith("refused" if name in STAGING_REFUSES else "warned of"), name
        assert reference != "refused", name


def test_check_prints_the_pin_and_what_only_ga_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "staging")
    check(file, as_json=False)
    told = capsys.readouterr().out
    assert f"{file}: warning: profiles: pin them with what `briefcased check` prints" in told
    assert f"\nprofiles_digest: {profiles_digest([tmp_path / 'mine'])}\n" in told
    assert "; mode staging," in told


def test_the_configurations_that_are_shipped_pin_the_profiles_beside_them() -> None:
    for name in ("briefcased.yaml", "shared/first.yaml", "shared/second.yaml"):
        text = (pages.ROOT / "deploy/compose" / name).read_text()
        assert f"profiles_digest: {profiles_digest([pages.ROOT / 'deploy/compose/profiles'])}\n" in text
