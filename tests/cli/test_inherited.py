"""`briefcased run` behind a corporate proxy: the operator's own variables say so."""

from __future__ import annotations

import pytest

from proxy.cli.inherited import PASSWORD as WORD_NAME
from proxy.cli.inherited import USERNAME, inherited
from proxy.errors import BriefcaseError
from tests.fakes.upstream_proxy import PASSWORD, USER, UpstreamProxy
from tests.rig.program import assert_unseen

GITHUB = "ghp_REAL0123456789abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://a.test:1"}, None),
        ({"HTTPS_PROXY": "http://a.test:1"}, "http://a.test:1"),
        ({"HTTPS_PROXY": "a.test:1"}, "http://a.test:1"),
        ({"HTTPS_PROXY": "http://upper.test:1", "https_proxy": "http://lower.test:1"}, "http://lower.test:1"),
        ({"ALL_PROXY": "socks5h://a.test:1", "https_proxy": " "}, "socks5h://a.test:1"),
        ({"ALL_PROXY": "socks5://all.test:1", "HTTPS_PROXY": "https://a.test:1"}, "https://a.test:1"),
    ],
)
def test_which_variable_counts(environment, url):
    entry = inherited(environment).entry
    assert (entry and entry.url) == url


def test_credentials_stand_apart_and_decoded():
    found = inherited(
        {"https_proxy": "http://ad%40a:p%3Aw%20d@corp.test:3128/", "no_proxy": ".corp.test, 10.0.0.0/8 <local>,*x"}
    )
    assert found.entry.url == "http://corp.test:3128/"
    assert (found.entry.username, found.entry.password) == (f"env:{USERNAME}", f"env:{WORD_NAME}")
    assert (found.secrets[USERNAME], found.secrets[WORD_NAME]) == ("ad@a", "p:w d")
    assert found.entry.no_proxy == (".corp.test", "10.0.0.0/8")


@pytest.mark.parametrize(
    "url", ["socks4://ada:hunter22@a.test:1", "http://ada:hunter22@a.test:1/path", "http://ada:hunter22@"]
)
def test_p5_a_proxy_that_cannot_be_used_is_not_gone_around(url):
    with pytest.raises(BriefcaseError, match="HTTPS_PROXY: ") as error:
        inherited({"HTTPS_PROXY": url})
    assert "hunter22" not in str(error.value)


@pytest.mark.slow
async def test_p1_run_goes_through_the_operators_proxy_and_its_password_stays_behind(cli):
    async with UpstreamProxy("http", {}, login=True) as fake:
        url = f"http://{USER}:{PASSWORD}@127.0.0.1:{fake.port}"
        held = {"GITHUB_TOKEN": GITHUB, "HTTPS_PROXY": url, "npm_config_proxy": url, "NO_PROXY": "uploads.github.com"}
        script = "curl -sS https://api.github.com/user; env"
        ran = await cli.run("run", "--", "sh", "-c", script, **held)
        assert ran.code == 0, ran.err
        assert fake.targets == ["api.github.com:443"]
        assert len(fake.proofs) == 1
        assert "urn:briefcased:error:upstream_unreachable" in ran.out  # it let us in, and has no such name
        assert_unseen(ran.out + ran.err, GITHUB, PASSWORD)
        assert "UPSTREAM_PROXY" not in ran.out
        listed = await cli.run("receipts", "list", "--json")
        assert f'"upstream_proxy":"127.0.0.1:{fake.port}"' in listed.out.replace(": ", ":")
        assert_unseen(listed.out, PASSWORD)


@pytest.mark.slow
async def test_a_dry_run_says_which_proxy(cli):
    held = {"GITHUB_TOKEN": GITHUB, "ALL_PROXY": f"socks5://{USER}:{PASSWORD}@corp.test:1080"}
    ran = await cli.run("run", "--dry-run", "--", "true", **held)
    assert "  providers are reached through socks5://corp.test:1080\n" in ran.out
    assert_unseen(ran.out + ran.err, PASSWORD)
    wrong = await cli.run("run", "--dry-run", "--", "true", **{**held, "ALL_PROXY": f"socks4://{USER}:{PASSWORD}@x"})
    assert wrong.code == 1
    assert "ALL_PROXY: a URL starts with" in wrong.err
    assert_unseen(wrong.out + wrong.err, PASSWORD)
