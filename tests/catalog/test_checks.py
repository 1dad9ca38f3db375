"""Every mistake at once, each with its file, line and path."""

from __future__ import annotations

import pytest

from proxy.catalog.configuration import load_configuration, mistakes
from proxy.catalog.loader import load_profile, load_profiles, shipped
from proxy.catalog.modes import GA_REFUSES, STAGING_REFUSES
from proxy.documents import Document
from proxy.errors import ConfigError
from proxy.settings import Settings

GOOD = """\
schema: 1
name: sample
title: Sample
docs: https://example.com
checked: "2026-11-24"
hosts: [{host: api.example.com}]
secrets: {key: {}}
credentials: {key: {kind: header, secret: key}}
operations:
  - {id: read, methods: [GET], path: "/**", action: read}
"""
BROKEN = {
    "unknown key": (GOOD + "colour: blue\n", "colour", 11),
    "key twice": (GOOD + "name: sample\n", "name", 11),
    "not yaml": (GOOD + "a: [\n", "(file)", 12),
    "public suffix": (GOOD.replace("api.example.com", '"*.co.uk"'), "hosts[0].host", 6),
    "private section": (GOOD.replace("api.example.com", '"*.github.io"'), "hosts[0].host", 6),
    "bare wildcard": (GOOD.replace("api.example.com", '"*"'), "hosts[0].host", 6),
    "inner wildcard": (GOOD.replace("api.example.com", '"api.*.com"'), "hosts[0].host", 6),
    "upper case": (GOOD.replace("api.example.com", "API.example.com"), "hosts[0].host", 6),
    "unknown secret": (GOOD.replace("secret: key", "secret: other"), "credentials.key", 8),
    "two sources": (GOOD.replace("secret: key", "secret: key, template: a"), "credentials.key.header", 8),
    "transport header": (GOOD.replace("kind: header", "kind: header, header: Host"), "credentials.key.header", 8),
    "unknown credential": (
        GOOD.replace("action: read", "action: read, credentials: [x]"),
        "operations[0].credentials[0]",
        10,
    ),
    "unknown host": (GOOD.replace("action: read", "action: read, hosts: [x.test]"), "operations[0].hosts[0]", 10),
    "bad template": (GOOD.replace('"/**"', '"/**/a"'), "operations[0].path", 10),
    "relative template": (GOOD.replace('"/**"', "a"), "operations[0].path", 10),
    "same id": (GOOD + '  - {id: read, methods: [POST], path: "/a", action: read}\n', "operations[1].id", 11),
    "same calls": (GOOD + '  - {id: other, methods: [GET], path: "/**", action: write}\n', "operations[1].path", 11),
    "frames without a socket": (
        GOOD.replace("kind: header", "kind: frames, rules: [{pointer: /token}]").replace(
            "action: read", "action: read, credentials: [key]"
        ),
        "operations[0].credentials[0]",
        10,
    ),
    "frames over plain http": (
        GOOD.replace("kind: header", "kind: frames, rules: [{pointer: /token}]")
        .replace("action: read", "action: read, websocket: true, credentials: [key]")
        .replace("api.example.com", "api.example.com, scheme: http, port: 80"),
        "operations[0].credentials[0]",
        10,
    ),
    "frames without a rule": (
        GOOD.replace("kind: header", "kind: frames, rules: []"),
        "credentials.key.rules",
        8,
    ),
    "frames with a bad pointer": (
        GOOD.replace("kind: header", "kind: frames, rules: [{pointer: token}]"),
        "credentials.key.rules[0].pointer",
        8,
    ),
    "no hosts": (GOOD.replace("[{host: api.example.com}]", "[]"), "hosts", 6),
    "wrong type": (GOOD.replace("{host: api.example.com}", "{host: api.example.com, port: '443'}"), "hosts[0].port", 6),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_a_profile_is_named_with_its_place(tmp_path, name):
    text, path, line = BROKEN[name]
    file = tmp_path / "sample.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as found:
        load_profile(file)
    assert any((f.path, f.line) == (path, line) and f.file == str(file) for f in found.value.findings), str(found.value)


def test_the_good_profile_loads_and_its_file_name_counts(tmp_path):
    (tmp_path / "sample.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text(GOOD)
    assert load_profile(tmp_path / "sample.yaml").name == "sample"
    with pytest.raises(ConfigError, match="must be called"):
        load_profile(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]\n", "a: &x [1]\nb: [*x, *x]\n<<: {c: 1}\n", "{a: 1}: 2\n", "\0", "", "!!python/object:os.system {}\n"],
)
def test_hostile_yaml_is_refused(text):
    with pytest.raises(ConfigError):
        Document("x.yaml", text).validated(Settings)


def test_alias_expansion_is_bounded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="grow without end"):
        Document("x.yaml", "\n".join(lines))


CONFIG = """\
version: 1
listeners: {proxy: "127.0.0.1:99999"}
providers:
  githab: {accounts: {main: {secrets: {token: env:X}}}}
  github:
    accounts:
      one: {secrets: {tokn: env:X}, default: true}
      two: {secrets: {token: ghp_pasted_here}, default: true}
agents:
  coder: {accounts: [github/three]}
egress:
  allow_private:
    - {host: a.test, addresses: [169.254.169.254]}
colour: blue
"""


def test_every_mistake_is_reported_at_once_and_no_value_is_repeated(tmp_path):
    file = tmp_path / "briefcased.yaml"
    file.write_text(CONFIG.replace("colour: blue\n", ""))
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    places = {(f.line, f.path) for f in found.value.findings}
    assert {
        (2, "listeners.proxy"),
        (4, "providers.githab"),
        (7, "providers.github.accounts.one.secrets.tokn"),
        (8, "providers.github.accounts.two.secrets.token"),
        (6, "providers.github.accounts"),
        (10, "agents.coder.accounts[0]"),
        (13, "egress.allow_private[0].addresses[0]"),
    } <= places
    assert "ghp_pasted_here" not in str(found.value)
    assert "did you mean git" in str(found.value)
    file.write_text(CONFIG)
    with pytest.raises(ConfigError, match="colour"):
        load_configuration(file)


RELAXED = {
    "unmatched": {"unmatched": "pass"},
    "debug_logs": {"logs": {"level": "debug"}},
    "environment_secrets": {"providers": {"github": {"accounts": {"a": {"secrets": {"token": "env:X"}}}}}},
    "plain_upstreams": {"providers": {"plain": {"accounts": {"a": {"secrets": {"key": "file:/x"}}}}}},
    "loopback_targets": {"egress": {"allow_private": [{"host": "a.test", "addresses": ["127.0.0.1"]}]}},
    "unchecked_confinement": {"confinement": {}},
    "plain_database": {"state": {"seal_key": "file:/k", "shared": {"host": "db.example", "tls": "off"}}},
    "observed_policies": {"policies": {"observe": True}},
    "open_policies": {"policies": {"preset": "open"}},
    "told_widenings": {"policies": {"widening": "tell"}},
    "unpinned_profiles": {"profiles": ["profiles"]},
    "control_among_agents": {"listeners": {"proxy": "0.0.0.0:8080", "control": "0.0.0.0:8081"}},
}


PROXIED = """\
version: 1
mode: ga
egress:
  upstream_proxy:
    url: http://ada:hunter22@corp.test:1
    username: env:CORP_USER
    ca_bundle: roots.pem
    no_proxy: [example.com, "not a host"]
providers:
  github:
    upstream_proxy: {url: "socks5://corp.test:1", password: hunter22hunter22}
    accounts: {one: {secrets: {token: file:/x}}}
  openai:
    upstream_proxy: never
    accounts: {one: {secrets: {api_key: file:/x}}}
confinement: {required: false}
"""


def test_p1_an_upstream_proxy_that_cannot_be_is_told_with_its_line_and_without_its_values(tmp_path):
    file = tmp_path / "briefcased.yaml"
    file.write_text(PROXIED)
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    assert {f.line for f in found.value.findings} == {14}
    assert all(f.path.startswith("providers.openai.upstream_proxy") for f in found.value.findings)
    file.write_text(PROXIED.replace("upstream_proxy: never", "upstream_proxy: direct"))
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    assert {(f.line, f.path) for f in found.value.findings} == {
        (5, "egress.upstream_proxy.url"),
        (6, "egress.upstream_proxy.username"),  # env: in ga
        (7, "egress.upstream_proxy.ca_bundle"),
        (8, "egress.upstream_proxy.no_proxy[1]"),
        (11, "providers.github.upstream_proxy.password"),
    }
    assert "hunter22" not in str(found.value)
    good = PROXIED.replace("ada:hunter22@", "").replace("env:CORP_USER", "file:/u").replace("http://", "https://")
    good = good.replace(', "not a host"', "").replace(", password: hunter22hunter22", "").replace(": never", ": direct")
    (tmp_path / "roots.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    file.write_text(good)
    assert load_configuration(file).settings.egress.upstream_proxy.ca_bundle == tmp_path / "roots.pem"


ISSUERS = """\
version: 1
identity:
  tokens:
    - {issuer: a, audience: b, jwks_url: "http://a.test/jwks", agent: {map: {x: nobody}}}
    - {issuer: a, audience: b, jwks_file: gone.json, ca_file: gone.pem, agent: {match: "no-place"}}
    - {issuer: c, audience: b, agent: {}}
agents:
  coder: {}
"""


def test_an_issuer_that_cannot_be_is_told_with_its_line(tmp_path):
    file = tmp_path / "briefcased.yaml"
    file.write_text(ISSUERS)
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    assert {(f.line, f.path) for f in found.value.findings} == {
        (4, "identity.tokens[0].jwks_url"),
        (4, "identity.tokens[0].agent.map.x"),
        (5, "identity.tokens[1].issuer"),
        (5, "identity.tokens[1].jwks_file"),
        (5, "identity.tokens[1].ca_file"),
        (5, "identity.tokens[1].agent.match"),
        (6, "identity.tokens[2].issuer"),
        (6, "identity.tokens[2].agent"),
    }
    file.write_text(
        "version: 1\nagents: {coder: {}}\nidentity:\n  tokens:\n"
        "    - {issuer: a, audience: b, jwks_file: keys.json, agent: {map: {x: coder}}}\n"
    )
    (tmp_path / "keys.json").write_text("{}")
    assert load_configuration(file).settings.identity.tokens[0].jwks_file == tmp_path / "keys.json"


SHARED = """\
version: 1
state:
  shared: {host: db.example, password: hunter22hunter22, ca_bundle: gone.pem}
"""


def test_a_shared_database_that_cannot_be_is_told_with_its_line(tmp_path):
    file = tmp_path / "briefcased.yaml"
    file.write_text(SHARED)
    with pytest.raises(ConfigError) as found:
        load_configuration(file)
    assert {f.path for f in found.value.findings} == {
        "state.seal_key", "state.shared.password", "state.shared.ca_bundle",
    }  # fmt: skip
    assert "hunter22" not in str(found.value)
    (tmp_path / "gone.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    file.write_text(SHARED.replace("hunter22hunter22", "file:/p") + "  seal_key: file:/k\n")
    assert load_configuration(file).settings.state.shared.ca_bundle == tmp_path / "gone.pem"


def test_the_table_of_modes_is_whole():
    assert RELAXED.keys() == GA_REFUSES.keys()


@pytest.mark.parametrize("name", RELAXED)
def test_p5_what_ga_refuses_the_other_modes_allow(name):
    import orjson

    from proxy.catalog.schema import Profile

    plain = Document(
        "plain.yaml",
        GOOD.replace("name: sample", "name: plain").replace("api.example.com", "api.example.com, scheme: http"),
    )
    profiles = {**load_profiles([shipped()]), "plain": plain.validated(Profile)}
    strict = {"version": 1, "confinement": {"report": "/x"}}
    for mode, refused in (("reference", False), ("staging", name in STAGING_REFUSES), ("ga", True)):
        settings = Settings.model_validate_json(orjson.dumps({**strict, "mode": mode, **RELAXED[name]}))
        assert bool(list(mistakes(settings, profiles))) == refused, mode


def test_d11_two_profiles_cannot_share_a_host():
    from proxy.catalog.schema import Profile

    one = Document("a.yaml", GOOD).validated(Profile)
    other = one.model_copy(update={"name": "other"})
    import orjson

    account = {"accounts": {"a": {"secrets": {"key": "file:/x"}}}}
    settings = Settings.model_validate_json(
        orjson.dumps({"version": 1, "providers": {"sample": account, "other": account}})
    )
    assert any("belongs to" in message for _, message in mistakes(settings, {"sample": one, "other": other}))
