"""Mistakes in listeners and in hosts that are passed through: each with its place."""

from __future__ import annotations

import pytest

from proxy.catalog.configuration import load_configuration
from proxy.errors import ConfigError

BASE = "version: 1\nagents: {coder: {accounts: ['*']}}\n"


def findings(folder, text):
    path = folder / "briefcased.yaml"
    path.write_text(BASE + text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    return [str(finding) for finding in caught.value.findings]


@pytest.mark.parametrize(
    ("listener", "place", "message"),
    [
        ("{at: '127.0.0.1:9', agent: nobody}", "agent", "no such agent"),
        ("{at: '0.0.0.0:9', agent: coder}", "agent", "loopback"),
        ("{at: '10.0.0.1:9', kind: base_url, agent: coder}", "agent", "loopback"),
        ("{at: '127.0.0.1:9', kind: transparent}", "agent", "name the agent"),
        ("{at: '127.0.0.1:9', uids: [1000]}", "uids", "unix sockets alone"),
        ("{at: 'unix:/x', uids: [-1]}", "uids", "not negative"),
        ("{at: '127.0.0.1:9', proxy_protocol: true}", "proxy_protocol", "only a transparent"),
        ("{at: 'unix:/x', kind: transparent, agent: coder}", "proxy_protocol", "no original destination"),
        ("{at: 'fd:2', agent: coder}", "at", "standard streams"),
        ("{at: '127.0.0.1:8081', agent: coder}", "at", "another listener"),
        ("{at: '127.0.0.1:99999', agent: coder}", "at", "HOST:PORT"),
        ("{at: 'unix:relative', agent: coder}", "at", ""),
        ("{at: '127.0.0.1:9', kind: socks, agent: coder}", "kind", ""),
    ],
)
def test_a_listener_that_cannot_be_is_reported(tmp_path, listener, place, message):
    (found,) = findings(tmp_path, f"listeners: {{more: [{listener}]}}\n")
    assert f"listeners.more[0].{place}" in found
    assert message in found


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("Example.test", "lower-case"),
        ("'*.example.test'", "lower-case"),
        ("192.0.2.1", "name the host"),
        ("'[::1]:443'", "name the host"),
        ("https://example.test", "lower-case"),
        ("api.github.com", "manages this host"),
    ],
)
def test_a_host_that_cannot_be_passed_through_is_reported(tmp_path, host, message):
    provider = "providers: {github: {accounts: {main: {secrets: {token: 'file:/x'}}}}}\n"
    (found,) = findings(tmp_path, f"{provider}passthrough_hosts: [{host}]\n")
    assert "passthrough_hosts[0]" in found
    assert message in found
