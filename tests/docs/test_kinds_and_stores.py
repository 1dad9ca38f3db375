"""Every credential kind and every store has its page; fields and defaults are the code's; the YAML on the pages loads."""

from __future__ import annotations

import hmac
import re
import typing
from functools import cache

import pytest

from proxy.catalog.checks import profile_mistakes
from proxy.catalog.configuration import mistakes
from proxy.catalog.loader import load_profiles, shipped
from proxy.catalog.schema import Profile
from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Credential, Moment
from proxy.credentials.standin import StandIn, StandIns
from proxy.documents import Document, Strict
from proxy.keys import software
from proxy.model import AccountId, Authority, RequestHead, ResponseHead
from proxy.secret import Secret
from proxy.secretstore import STORES
from proxy.settings import Settings
from tests.docs import pages

KINDS = {
    typing.get_args(kind.model_fields["kind"].annotation)[0]: kind
    for kind in typing.get_args(typing.get_args(CredentialSpec)[0])
}
VALUE = "s3cr3t-value-0123456789"
STAND_INS = StandIns([StandIn("STAND-IN", "tester", AccountId("widgets", "main"), "key")])
YAML = [(path, block) for path in pages.pages() for block in pages.blocks(path.read_text("utf-8"), "yaml")]


def profiles_on(name):
    found = [block for block in pages.blocks(pages.text(name), "yaml") if block.startswith("schema: 1\n")]
    return [Document(name, block).validated(Profile) for block in found]


def test_every_kind_and_every_store_has_its_page_and_no_page_is_left_over():
    assert {path.stem for path in (pages.DOCS / "credentials").iterdir()} == {*KINDS, "README"}
    linked = set(re.findall(r"\]\((\w+)\.md\)", pages.text("credentials/README.md")))
    assert linked == set(KINDS)
    assert {path.stem for path in (pages.DOCS / "stores").iterdir()} == set(STORES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_every_field_of_its_kind_with_its_default(kind):
    rows = {row[0].strip("`"): row[1] for row in pages.table(pages.text(f"credentials/{kind}.md"), "field")}
    fields = {name: field for name, field in KINDS[kind].model_fields.items() if name != "kind"}
    assert set(rows) == set(fields)
    for name, field in fields.items():
        if isinstance(field.default, Strict):  # its parts have rows of their own
            assert rows[name] == "empty", name
            continue
        default = "required" if field.is_required() else {"": "empty", None: "none"}.get(field.default or None, "empty")
        wanted = {default} if default == "required" else {"empty", "none", f"`{field.default}`"}
        assert rows[name] in wanted, name
        assert (rows[name] in ("empty", "none")) == (not field.is_required() and not field.default), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_profile_on_a_page_uses_its_kind_and_puts_the_secret_where_the_page_says(kind):
    (profile,) = profiles_on(f"credentials/{kind}.md")
    (spec,) = profile.credentials.values()
    assert spec.kind == kind
    credential = Credential({name: Secret(name, VALUE) for name in (*spec.secret_names(), "access_token")})
    head = RequestHead("POST", "https", Authority("api.widgets.example", 443), "/botx/getMe", ("botx", "getMe"),
                       "appid=whatever&q=Oslo", (), has_body=True)  # fmt: skip
    sent = spec.present(credential, head, b'{"auth": {}, "q": "x"}')
    headers = dict(sent.head.headers)
    match kind:
        case "header":
            assert headers == {"authorization": f"Bearer {VALUE}", "x-widgets-version": "2"}
        case "basic":
            assert headers == {"authorization": "Basic eC1hY2Nlc3MtdG9rZW46czNjcjN0LXZhbHVlLTAxMjM0NTY3ODk="}
        case "query":
            assert sent.head.query == f"q=Oslo&appid={VALUE}"
        case "path":
            assert sent.head.path == f"/bot{VALUE}/getMe"
        case "cookie":
            assert headers == {"cookie": f"widgets_login={VALUE}"}
        case "body_field":
            assert sent.body == b'{"auth":{"key":"' + VALUE.encode() + b'"},"q":"x"}'
        case "frames":
            rewriter = spec.rewriter(credential, STAND_INS, "STAND-IN")
            login = b'{"op": 2, "d": {"token": "STAND-IN", "seq": 7}}'
            assert (headers, rewriter.rewritten(login)) == ({}, login.replace(b"STAND-IN", VALUE.encode()))
        case "oauth":
            assert headers == {}  # a proof comes from `prove`: tests/credentials/oauth
        case "hmac":
            presented = proved(spec, credential, head)
            assert dict(presented.head.headers) == {
                "x-widgets-timestamp": "0",
                "x-widgets-signature": "v0=" + hmac.new(VALUE.encode(), b"v0:0:{}", "sha256").hexdigest(),
            }
        case "digest":
            assert dict(proved(spec, credential, head).head.headers) == {}
            challenge = ResponseHead(401, (("www-authenticate", 'Digest realm="r", nonce="n", qop=auth'),))
            lesson = spec.learn(credential, head, challenge, Moment(0))
            assert (lesson.again, lesson.facts["nonce"]) == ("prove", "n")
        case "http_signature":
            signer = software.generate("Ed25519")
            proving = spec.prove(Credential({}, keys={"signing": signer.public}), head, b"{}", Moment(0))
            base = next(proving).message.decode()
            assert [line.split('"')[1] for line in base.splitlines()][:3] == [
                "@method",
                "@target-uri",
                "content-digest",
            ]
            assert f'keyid="{signer.public.thumbprint}"' in base
        case "tls_client":
            assert (proved(spec, credential, head).head, spec.certificate_slot()) == (head, "tls")
        case "totp":
            coded = Credential({"key": Secret("key", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")})
            assert dict(proved(spec, coded, head).head.headers) == {"x-widgets-otp": "755224"}
        case "github_app" | "google" | "google_federation" | "azure" | "workload_federation":
            assert headers == {"authorization": f"Bearer {VALUE}"}
        case "snowflake":
            assert headers == {
                "authorization": f"Bearer {VALUE}",
                "x-snowflake-authorization-token-type": "KEYPAIR_JWT",
            }
        case "request_jwt":
            assert headers == {}  # what it signs is in tests/credentials/cloud
        case "vc" | "capability":
            assert headers == {}  # both come from `prove`: tests/credentials/vc, tests/credentials/capability
        case "aws" | "aws_role" | "aws_s3_express":
            assert headers == {}  # a signature comes from `prove`: tests/aws
        case "several":
            assert dict(proved(spec, credential, head).head.headers) == {"x-api-key": VALUE, "x-application-key": VALUE}
        case _:
            pytest.fail(f"say here what {kind} does")


def proved(spec, credential, head, body=b"{}"):
    """What a kind that needs no signature of a key makes of `head`."""
    with pytest.raises(StopIteration) as ended:
        next(spec.prove(credential, head, body, Moment(0)))
    return ended.value.value


@pytest.mark.parametrize("scheme", STORES)
def test_a_page_of_a_store_has_a_configuration_that_uses_it(scheme):
    (block,) = pages.blocks(pages.text(f"stores/{scheme}.md"), "yaml")
    settings = Document(scheme, block).validated(Settings)
    refs = [ref for p in settings.providers.values() for a in p.accounts.values() for ref in a.secrets.values()]
    assert [ref.partition(":")[0] for ref in refs] == [scheme]


@cache
def shipped_profiles():
    return load_profiles([shipped()])


def whole(block):
    """The mistakes of a block that is a whole profile or configuration; None for a part of one."""
    document = Document("page", block)
    if "schema" in document.data:
        return list(profile_mistakes(document.validated(Profile)))
    if "tests" in document.data:
        return None  # of policies: test_policy.py reads them
    if "version" in document.data:
        return list(mistakes(document.validated(Settings), shipped_profiles()))
    return None


@pytest.mark.parametrize(
    ("path", "block"), YAML, ids=[f"{p.relative_to(pages.ROOT)}-{i}" for i, (p, _) in enumerate(YAML)]
)
def test_yaml_on_the_pages_that_is_a_whole_file_loads(path, block):
    if "\nservices:" in f"\n{block}":  # a compose file
        return
    assert whole(block) in ([], None)


def test_a_mistake_in_yaml_is_found():
    good = pages.blocks(pages.text("stores/env.md"), "yaml")[0]
    assert whole(good) == []
    assert whole(good.replace("github:", "gitbub:")) != []
    assert whole(good.replace("env:GITHUB_TOKEN", "ghp_0123456789")) != []
