"""Secrets go where they could go when they were first used, or where the operator has consented; nowhere else."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.binding import _origin_of
from proxy.clock import SystemClock
from proxy.credentials.bindings import MAX_FINGERPRINTS, Bindings
from proxy.credentials.order import Order
from proxy.credentials.origins import Bound, unconsented
from proxy.db.engine import DATABASE, open_database
from proxy.db.tables import bindings as table
from proxy.errors import Refused
from proxy.model import AccountId
from proxy.secret import Secret
from tests.rig.provider import Provider
from tests.rig.sidecar import EXAMPLE, HOSTS, KEY, OTHER, accounts, running_rig

ACCOUNT = AccountId("example", "main")
A, B, C = (f"https://{name}.example.test:443" for name in "abc")
ORIGINS = st.frozensets(st.sampled_from([A, B, C, "https://*.example.test:443", "http://a.example.test:80"]))
PRINTS = st.frozensets(st.sampled_from(["", "f1", "f2", "f3"]), min_size=1)
ROWS = st.frozensets(
    st.builds(Bound, st.sampled_from(["x/1", "x/2"]), st.sampled_from(["", "f1", "f2"]), st.sampled_from([A, B, C]))
)


@given(ROWS, PRINTS, ORIGINS)
def test_what_needs_consent_is_wanted_and_unknown(rows, prints, wanted):
    new = unconsented(rows, "x/1", prints, wanted)
    assert new <= wanted
    assert not new & {r.origin for r in rows if r.account == "x/1"} or any(r.fingerprint in prints for r in rows)


@given(ROWS, PRINTS, ORIGINS)
def test_consent_is_enough_and_stays_enough_when_origins_are_removed(rows, prints, wanted):
    after = rows | {Bound("x/1", print_, origin) for print_ in prints for origin in wanted}
    assert unconsented(after, "x/1", prints, wanted) == frozenset()
    for fewer in (wanted - {origin} for origin in wanted):
        assert unconsented(after, "x/1", prints, fewer) == frozenset()


@given(ROWS, PRINTS, ORIGINS)
def test_a_known_secret_needs_consent_for_every_new_place_whatever_its_account_is_called(rows, prints, wanted):
    for account in ("x/1", "x/2", "renamed/3"):
        for print_ in prints - {""}:
            known = {r.origin for r in rows if r.fingerprint == print_}
            if known:
                assert {A, B, C} & wanted - known <= unconsented(rows, account, prints, wanted)


@given(PRINTS, ORIGINS)
def test_the_first_use_needs_none(prints, wanted):
    others = {Bound("other/1", "f9", A)}
    assert unconsented(others, "x/1", prints, wanted) == frozenset()


@pytest.mark.parametrize(
    ("known", "origin", "covered"),
    [
        ("https://*.example.test:443", "https://a.example.test:443", True),
        ("https://*.example.test:443", "https://a.b.example.test:443", False),
        ("https://*.example.test:443", "https://example.test:443", False),
        ("https://*.example.test:443", "http://a.example.test:443", False),
        ("https://*.example.test:443", "https://a.example.test:444", False),
        ("https://a.example.test:443", "https://*.example.test:443", False),
        ("https://*.example.test:443", "https://*.example.test:443", True),
        ("https://a.example.test:443", "https://a.example.test:443.evil.test:443", False),
    ],
)
def test_a_wildcard_covers_one_label(known, origin, covered):
    assert (unconsented([Bound("x/1", "f", known)], "x/1", ["f"], frozenset({origin})) == frozenset()) == covered


@pytest.fixture
def database(tmp_path):
    database = open_database(tmp_path / DATABASE)
    yield database
    database.dispose()


def order(*origins, account=ACCOUNT):
    return Order(account, "main", None, {}, origins=frozenset(origins))


async def refused(bindings, order, secrets):
    with pytest.raises(Refused) as denied:
        await bindings.admit(order, secrets)
    return denied.value.denial.slug


async def test_a_rotated_secret_goes_where_its_account_went_and_a_moved_one_where_it_went(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock())
    one, two, other = ({"token": Secret("token", value)} for value in ("value-one", "value-two", "value-other"))
    await bindings.admit(order(A, B), one)
    await bindings.admit(order(A), one)
    await bindings.admit(order(A), two)
    assert await refused(bindings, order(A, C), two) == "consent_required"
    renamed = AccountId("example", "renamed")
    assert await refused(bindings, order(C, account=renamed), one) == "consent_required"
    await bindings.admit(order(B, account=renamed), one)
    await bindings.admit(order(C, account=AccountId("fresh", "one")), other)
    assert await refused(Bindings(database, key=b"k" * 32, clock=SystemClock()), order(A, C), one) == "consent_required"


async def test_an_account_without_secrets_is_bound_too(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock())
    await bindings.admit(order(A), {})
    assert await refused(bindings, order(A, B), {}) == "consent_required"
    await bindings.admit(order(B, account=AccountId("fresh", "one")), {})


async def test_the_table_holds_no_value_and_does_not_grow_with_leases(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock())
    for number in range(MAX_FINGERPRINTS + 9):
        await bindings.admit(order(A), {"token": Secret("token", f"leased-value-{number}")})
    with database.connect() as connection:
        rows = connection.execute(table.select()).all()
    assert len(rows) == MAX_FINGERPRINTS
    assert "leased-value" not in str(rows)
    assert await refused(bindings, order(B), {"token": Secret("token", "leased-value-0")}) == "consent_required"


async def test_p5_where_the_table_cannot_be_read_nothing_is_lent(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock())
    with database.begin() as connection:
        table.drop(connection)
    assert await refused(bindings, order(A), {}) == "credential_unavailable"


async def test_many_first_uses_at_once_agree(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock())
    secret = {"token": Secret("token", "value-one")}
    results = await asyncio.gather(
        *(bindings.admit(order(place), secret) for place in (A, B, C)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1


WIDER = EXAMPLE.replace(
    "hosts: [{{host: api.example.test, port: {port}}}]",
    "hosts: [{{host: api.example.test, port: {port}}}, {{host: wild.example.test, port: {port}}}]",
)


async def test_p2_a_changed_profile_does_not_get_a_known_secret_before_the_operator_consents(tmp_path, caplog):
    provider_port = {}
    for name in ("one", "two", "three"):
        profiles = {"example": EXAMPLE if name == "one" else WIDER, "other": OTHER}
        provider = Provider(tmp_path, HOSTS, port=provider_port.get("port", 0))
        await provider.start()
        provider_port["port"] = provider.port
        async with running_rig(tmp_path, profiles=profiles, provider=provider) as rig:
            answer = await rig.call("GET", "/x")
            if name == "two":
                assert answer.status == 403
                assert answer.problem == "consent_required"
                assert provider.requests == []
                assert KEY not in answer.body.decode() + caplog.text
                (call,) = [c for c in await rig.settled(1) if c.decision["decision"] == "deny"]
                assert call.decision["slug"] == "consent_required"
                assert f"https://wild.example.test:{rig.provider.port}" in caplog.text
                assert (await rig.call("GET", f"https://other.example.test:{provider.port}/x")).status == 200
                await asyncio.to_thread(consent, rig, tmp_path)
                assert (await rig.call("GET", "/x")).status == 200
            else:
                assert answer.status == 200
        await provider.stop()


def consent(rig, folder):
    """By the command, as the operator does it while the sidecar runs."""
    (folder / "profiles").mkdir()
    for name in ("example", "other"):
        (folder / "profiles" / f"{name}.yaml").write_text((folder / f"{name}.yaml").read_text())
    config = folder / "briefcased.yaml"
    config.write_text(
        "version: 1\nprofiles: [profiles]\nproviders: {example: {accounts: {main: {secrets: {api_key: 'env:EXAMPLE_API_KEY'}}}}}\n"
    )
    environment = {"BRIEFCASED_HOME": str(rig.home), "EXAMPLE_API_KEY": KEY, "PATH": "/usr/bin:/bin"}

    def run(*arguments):
        command = [sys.executable, "-m", "proxy", "accounts", "consent", *arguments, "--config", str(config)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    asked = run("example/main")
    assert asked.returncode != 0
    assert "https://wild.example.test" in asked.stdout
    done = run("example/main", "--yes")
    assert done.returncode == 0, done.stderr
    assert "recorded" in done.stdout
    assert "needs no consent" in run("example").stdout
    assert KEY not in asked.stdout + asked.stderr + done.stdout + done.stderr


async def test_runs_that_end_with_their_command_do_not_ask(database):
    bindings = Bindings(database, key=b"k" * 32, clock=SystemClock(), asks=False)
    secret = {"token": Secret("token", "value-one")}
    await bindings.admit(order(A), secret)
    await bindings.admit(order(B), secret)
    with database.connect() as connection:
        assert connection.execute(table.select()).all() == []


def test_origins_are_hosts_and_endpoints(tmp_path):
    from proxy.catalog.binding import bind
    from proxy.catalog.loader import load_profile
    from proxy.settings import Settings

    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE.format(port=443))
    settings = Settings.model_validate({"version": 1, "providers": {"example": accounts(api_key="env:X")}})
    (account,) = bind(settings, {"example": load_profile(path)})["example"]
    assert account.origins == {"https://api.example.test:443"}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://AS.test/token", "https://as.test:443"),
        ("https://as.test:8443?x", "https://as.test:8443"),
        ("https://good.test\r\x1b[2Kevil.test/", r"https://good.test\r\x1b[2Kevil.test/"),
        ("https://evil.test\u202e/", r"https://evil.test\u202e/"),
    ],
)
def test_p5_an_operator_who_is_asked_sees_every_character_of_a_place(url, origin):
    assert _origin_of(url) == origin
