"""The report: untrusted, bounded, strict; and what a sidecar in mode `ga` makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time

import httpx
import pytest
import yaml

from proxy.confine.probe.report import (
    MAX_REPORT_BYTES,
    ConfinementReport,
    NoReportError,
    parse_report,
    read_report,
    write_report,
)
from proxy.confine.probe.standing import require_confined, stands
from proxy.confine.probe.ways import THROUGH_THE_SIDECAR, WAYS, Attempt, Seen, State
from proxy.errors import BriefcaseError
from proxy.settings import Settings

NOW_MS = 1_800_000_000_000
CLOSED = tuple(Attempt(way, "x", State.CLOSED, Seen.TIMEOUT) for way in WAYS)


def report(*attempts, made_at_ms=NOW_MS):
    return ConfinementReport.of(attempts or CLOSED, made_at_ms=made_at_ms)


def changed(way, state):
    return (*(a for a in CLOSED if a.way != way), Attempt(way, "x", state, Seen.CONNECTED))


@pytest.mark.parametrize(
    ("attempts", "accept", "said"),
    [
        (CLOSED, (), "closed"),
        (changed("quic", State.OPEN), (), "open: quic"),
        (changed("quic", State.OPEN), ("quic",), "closed"),
        (changed("quic", State.OPEN), ("icmp",), "open: quic"),
        (changed("quic", State.UNKNOWN), (), "unknown: quic"),
        ((*CLOSED, Attempt("tcp", "y", State.OPEN, Seen.CONNECTED)), (), "open: tcp"),
        ((*CLOSED, Attempt("tcp", "y", State.UNKNOWN, Seen.SILENCE)), (), "closed"),
        (changed("connect_local", State.UNKNOWN), (), "closed"),
        (changed("connect_local", State.OPEN), (), "open: connect_local"),
        (tuple(a for a in CLOSED if a.way != "tcp6"), (), "unknown: tcp6"),
        ((), (), "unknown: " + ", ".join(way for way in WAYS if way not in THROUGH_THE_SIDECAR)),
    ],
)
def test_p5_what_is_open_left_out_or_unknown_is_not_closed(attempts, accept, said):
    made = ConfinementReport.of(attempts, made_at_ms=NOW_MS)
    assert str(stands(made, accept=accept, max_age_s=60, now_ms=NOW_MS + 1000)) == said


@pytest.mark.parametrize(
    ("age_s", "word"), [(0, "closed"), (60, "closed"), (61, "stale"), (-30, "closed"), (-61, "stale")]
)
def test_p5_a_report_that_is_old_or_from_the_future_is_stale(age_s, word):
    made = report(made_at_ms=NOW_MS - age_s * 1000)
    assert stands(made, accept=(), max_age_s=60, now_ms=NOW_MS).word == word


def test_what_is_written_is_what_is_read(tmp_path):
    path = tmp_path / "confinement.json"
    write_report(path, report())
    before = os.umask(0o077)
    try:
        write_report(path, report())
    finally:
        os.umask(before)
    assert read_report(path) == report()
    assert path.stat().st_mode & 0o777 == 0o644, "the sidecar is somebody else"
    assert [entry.name for entry in tmp_path.iterdir()] == ["confinement.json"]
    with pytest.raises(BriefcaseError, match="No such file"):
        write_report(tmp_path / "gone" / "x", report())


def good(**other):
    return json.loads(report().model_dump_json()) | other


ENTRY = {"way": "tcp", "target": "x", "state": "closed", "seen": "timeout"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"\xff", b"null",
        *(
            json.dumps(bad).encode()
            for bad in (
                good(version=2), good(extra=1), good(made_at_ms="1"), good(made_at_ms=-1), good(made_at_ms=2**60),
                good(attempts=[{**ENTRY, "way": "nowhere"}]), good(attempts=[{**ENTRY, "state": "shut"}]),
                good(attempts=[{**ENTRY, "seen": "x"}]), good(attempts=[{**ENTRY, "target": "x" * 513}]),
                good(attempts=[{**ENTRY, "note": "x"}]), good(attempts=[ENTRY] * 513), good(attempts="x"),
                {"version": 1, "made_at_ms": 1},
            )
        ),
    ],
)  # fmt: skip
def test_p5_what_is_not_exactly_a_report_is_refused_without_a_word_of_it(content):
    with pytest.raises(NoReportError) as refused:
        parse_report(content)
    assert str(refused.value) == "it is not a report of this version"


def test_p5_links_pipes_sockets_folders_and_what_is_too_large_are_refused(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    write_report(real / "report", report())
    (tmp_path / "link").symlink_to(real / "report")
    (tmp_path / "folder-link").symlink_to(real)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * (MAX_REPORT_BYTES + 1))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        for path in ("link", "folder-link/report", "pipe", "large", "socket", "real", "gone", "gone/gone"):
            with pytest.raises(NoReportError):
                read_report(tmp_path / path)
    assert read_report(real / "report") == report()


@pytest.mark.parametrize("mode", ["reference", "staging", "ga"])
def test_p5_every_kind_of_missing_report_stops_ga_and_only_ga(tmp_path, mode):
    def settings(**confinement):
        return Settings.model_validate_json(
            json.dumps({"version": 1, "mode": mode, "confinement": {"report": str(tmp_path / "r"), **confinement}})
        )

    def stops(**confinement):
        try:
            require_confined(settings(**confinement), now_ms=NOW_MS)
        except BriefcaseError as error:
            return str(error)
        return None

    strict = mode == "ga"
    assert bool(stops()) == strict
    assert not stops(required=False)
    (tmp_path / "r").write_bytes(b'{"secret": "hunter22"}')
    assert bool(stops()) == strict
    assert "hunter22" not in str(stops())
    write_report(tmp_path / "r", report(*changed("tcp", State.OPEN)))
    assert bool(stops()) == strict
    assert not stops(accept=["tcp"])
    write_report(tmp_path / "r", report(*CLOSED[1:]))
    assert bool(stops()) == strict
    write_report(tmp_path / "r", report(made_at_ms=NOW_MS - 2000))
    assert bool(stops(max_age_s=1)) == strict
    assert not stops(max_age_s=3)


def ga(up, **confinement):
    path = up.folder / "confinement.json"
    settings = {
        "version": 1,
        "mode": "ga",
        "listeners": {"proxy": "127.0.0.1:0", "control": "127.0.0.1:0"},
        "confinement": {"report": "confinement.json", **confinement},
    }
    up.config.write_text(yaml.safe_dump(settings))
    return path


async def refusal(up):
    done = await asyncio.to_thread(up.command, "up", "--config", str(up.config))
    assert done.returncode != 0
    return done.stderr


def now_ms():
    return time.time_ns() // 1_000_000


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in ("missing", "unknown", "stale", "link")]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["open", *SLOW])
async def test_p5_ga_does_not_start_without_a_report_that_says_closed(up, case):
    path = ga(up)
    match case:
        case "open":
            write_report(path, report(*changed("tcp", State.OPEN), made_at_ms=now_ms()))
        case "unknown":
            write_report(path, report(*CLOSED[1:], made_at_ms=now_ms()))
        case "stale":
            write_report(path, report(made_at_ms=now_ms() - 86_401_000))
        case "link":
            write_report(path.with_name("other"), report(made_at_ms=now_ms()))
            path.symlink_to("other")
    said = await refusal(up)
    word = {"open": "open: tcp", "unknown": "unknown: tcp", "stale": "stale"}.get(case, "missing")
    assert f"mode ga needs a confined agent; the report {path} says {word}" in said
    assert "briefcased doctor --confinement --from-here --write FILE" in said
    assert not (up.home / "sidecar.json").exists()


async def test_ga_starts_with_a_report_that_says_closed_and_shows_what_becomes_of_it(up):
    path = ga(up)
    write_report(path, report(made_at_ms=now_ms()))
    await up.start()
    url = f"http://{up.state['control']}/readyz"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def shown():
            answer = await client.get(url)
            return answer.status_code, answer.json()["details"]["confinement"]

        assert await shown() == (200, "closed")
        write_report(path, report(*changed("quic", State.OPEN), made_at_ms=now_ms()))
        assert await shown() == (200, "open: quic")
        write_report(path, report(made_at_ms=1))
        assert await shown() == (200, "stale")
        path.unlink()
        assert await shown() == (200, "missing")


@pytest.mark.slow
async def test_ga_without_a_check_has_to_say_so(up):
    ga(up, report=None)
    assert "confinement.report: name the report of a confinement check" in await refusal(up)
    ga(up, report=None, required=False)
    await up.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        ready = (await client.get(f"http://{up.state['control']}/readyz")).json()
    assert ready["details"] == {"confinement": "not checked", "policies": "enforced"}


@pytest.mark.slow
async def test_p5_a_reload_to_ga_needs_the_report_too(up):
    path = ga(up)
    up.config.write_text(up.config.read_text().replace("mode: ga", "mode: reference"))
    await up.start()
    ga(up)
    refused = await asyncio.to_thread(up.command, "reload", "--config", str(up.config))
    assert "mode ga needs a confined agent" in refused.stderr
    write_report(path, report(made_at_ms=now_ms()))
    done = await asyncio.to_thread(up.command, "reload", "--config", str(up.config))
    assert done.stdout == "configuration 2 is in force\n"


@pytest.mark.slow
async def test_an_accepted_way_must_be_one_that_exists(up):
    ga(up, accept=["quick"])
    assert "confinement.accept[0]: there is no way of this name; did you mean quic?" in await refusal(up)
