"""`kind: digest`: the examples of RFC 7616, a strict fake server, and lighttpd."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import shutil
import socket
import subprocess

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.credentials import CredentialSpec
from proxy.credentials.challenges import challenges, parameters
from proxy.credentials.kind import Credential, Moment
from proxy.model import Authority, RequestHead, ResponseHead
from proxy.secret import Secret
from tests.fakes.digest_server import DigestServer
from tests.rig.kinds import assert_never_shown, running_kind

ADAPTER = TypeAdapter(CredentialSpec)
KIND = {"kind": "digest", "username": "{user}", "password": "{password}"}
SECRETS = {"user": "public-key-abc", "password": 'Circle of "Life" 42'}
HEAD = RequestHead("GET", "https", Authority("a.test", 443), "/dir/index.html", ("dir", "index.html"), None, (), False)


def answered(fields, secrets, learnt, *, head=HEAD, body=None, count=1):
    kind = ADAPTER.validate_json(orjson.dumps({**KIND, **fields}))
    credential = Credential({name: Secret(name, value) for name, value in secrets.items()})
    with pytest.raises(StopIteration) as ended:
        next(kind.prove(credential, head, body, Moment(0, learnt, count=count)))
    return dict(ended.value.value.head.headers).get("authorization")


# -- RFC 7616, section 3.9 -------------------------------------------------------------------------------------------

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm, response):
    learnt = {
        "realm": "http-auth@example.org", "nonce": NONCE, "opaque": OPAQUE, "algorithm": algorithm, "qop": "auth, auth-int",
        "userhash": "", "cnonce": CNONCE, "session_nonce": NONCE,
    }  # fmt: skip
    value = answered({}, {"user": "Mufasa", "password": "Circle of Life"}, learnt)
    assert value == (
        f'Digest username="Mufasa", realm="http-auth@example.org", nonce="{NONCE}", uri="/dir/index.html", '
        f'response="{response}", algorithm={algorithm}, opaque="{OPAQUE}", qop=auth, nc=00000001, cnonce="{CNONCE}"'
    )


def test_rfc_7616_section_3_9_2_as_corrected_by_its_erratum_4897():
    learnt = {
        "realm": "api@example.org", "nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "qop": "auth",
        "opaque": "HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", "algorithm": "SHA-512-256", "userhash": "true",
        "cnonce": "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", "session_nonce": "",
    }  # fmt: skip
    head = RequestHead("GET", "https", Authority("api.example.org", 443), "/doe.json", ("doe.json",), None, (), False)
    value = answered({}, {"user": "Jäsøn Doe", "password": "Secret, or not?"}, learnt, head=head)
    assert 'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b", userhash=true' in value
    assert 'response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"' in value


def test_a_name_that_is_not_ascii_and_not_hashed_is_extended():
    learnt = {"realm": "r", "nonce": "n", "algorithm": "MD5", "qop": "", "cnonce": "c"}
    value = answered({}, {"user": "Jäsøn", "password": "p"}, learnt)
    assert value.startswith("Digest username*=UTF-8''J%C3%A4s%C3%B8n, ")
    assert "nc=" not in value  # no qop: RFC 2069


# -- challenges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('Digest realm="r", nonce="n"', [{"realm": "r", "nonce": "n"}]),
        ('Basic realm="a, b", Digest Realm="r" , nonce = n', [{"realm": "r", "nonce": "n"}]),
        ('Negotiate, NTLM abc==, Digest realm="q\\"q"', [{"realm": 'q"q'}]),
        ('Digest realm="r", realm="s"', []),
        ('Digest realm="open', [{}]),
        ("Bearer", []),
        ("Digest " + ",".join(f"p{n}=1" for n in range(99)), []),
        ("=,=,=", []),
        ("", []),
    ],
)
def test_challenges(value, found):
    head = ResponseHead(401, (("www-authenticate", value),))
    assert [dict(challenge) for challenge in challenges(head, "digest")] == found


def test_parameters():
    assert parameters('nextnonce="n", qop=auth') == {"nextnonce": "n", "qop": "auth"}


def learn(fields, *values, learnt=None, sent=(), attempt=0):
    kind = ADAPTER.validate_json(orjson.dumps({**KIND, **fields}))
    response = ResponseHead(401, tuple(("www-authenticate", value) for value in values))
    head = RequestHead("GET", "https", Authority("a.test", 443), "/", ("",), None, tuple(sent), False)
    return kind.learn(Credential({}), head, response, Moment(0, learnt or {}, attempt))


BOTH = ('Digest realm="r", nonce="md5", algorithm=MD5', 'Digest realm="r", nonce="sha", algorithm=sha-256-SESS')


def test_the_best_allowed_algorithm_is_chosen_whatever_the_order():
    assert learn({}, *BOTH).facts["nonce"] == learn({}, *reversed(BOTH)).facts["nonce"] == "sha"
    assert learn({}, *BOTH).facts["algorithm"] == "SHA-256-sess"
    assert learn({"algorithms": ["MD5"]}, *BOTH).facts["nonce"] == "md5"
    assert learn({"algorithms": ["SHA-256"]}, BOTH[0]).again == "no"
    assert learn({"realm": "other"}, *BOTH).again == "no"
    assert learn({}, f'Digest realm="{"r" * 4001}", nonce="n"').again == "no"
    assert learn({}, 'Digest realm="r", nonce="n", algorithm=MD4').again == "no"


def test_p1_the_proof_is_a_secret_too():
    learnt = {"realm": "r", "nonce": "n", "algorithm": "MD5", "qop": "auth", "cnonce": "c"}
    digest = {"kind": "digest", "username": "Mufasa", "password": "{key}"}
    kind = ADAPTER.validate_json(orjson.dumps(digest))
    with pytest.raises(StopIteration) as ended:
        next(kind.prove(Credential({"key": Secret("key", "Circle of Life")}), HEAD, None, Moment(0, learnt, count=1)))
    presented = ended.value.value
    (proof,) = presented.secrets.values()
    assert f'response="{proof.reveal().decode()}"' in presented.head.header("authorization")


@pytest.mark.parametrize("fields", [{"username": "J\u00e4s\u00f8n"}, {"password": "\u20ac{key}"}])
def test_a_name_or_password_that_is_not_ascii_is_a_secret(fields):
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(orjson.dumps({**KIND, **fields}))


def test_a_wrong_password_is_not_tried_twice():
    sent = [("authorization", "Digest x")]
    used = {"realm": "r", "nonce": "sha"}
    assert learn({}, BOTH[1], sent=sent, learnt=used).again == "no"
    assert learn({}, BOTH[1], sent=sent, learnt=used).facts == {"nonce": ""}
    assert learn({}, BOTH[1], sent=sent, learnt={**used, "realm": "another"}).again == "prove"
    assert learn({}, BOTH[1] + ", stale=TRUE", sent=sent, learnt=used).again == "prove"
    assert learn({}, BOTH[1] + ", stale=true", sent=sent, attempt=1).again == "no"


# -- end to end ------------------------------------------------------------------------------------------------------


async def test_p1_digest_end_to_end(tmp_path):
    async with running_kind(tmp_path, KIND, SECRETS) as rig:
        server = DigestServer(SECRETS["user"], SECRETS["password"], tell=True)
        rig.provider.on("/x", server)
        first = await rig.call("GET", "/x?q=1", headers={"Authorization": 'Digest username="agent"'})
        assert (first.status, len(rig.provider.requests)) == (200, 2)  # one challenge, unseen
        answers = [await rig.call("POST", "/x", content=b"body", http2=http2) for http2 in (False, True)]
        many = await asyncio.gather(*(rig.call("GET", "/x") for _ in range(6)))
        assert {a.status for a in (*answers, *many)} == {200}
        assert server.problems == ["nothing"]
        assert sorted(server.counts[server.nonce]) == list(range(1, 10))
        server.nonce = "another"  # stale: learnt anew, unseen
        stale = await rig.call("POST", "/x", content=b"body")
        assert (stale.status, server.problems, server.counts["another"]) == (200, ["nothing", "stale"], [1])
        server.password = "changed"
        before = len(rig.provider.requests)
        wrong = await rig.call("GET", "/x")
        assert (wrong.status, len(rig.provider.requests)) == (401, before + 1)  # no second guess
        proofs = [re.search(r'response="(\w+)"', r.one("authorization") or "") for r in rig.provider.requests]
        shown = [proof[1] for proof in proofs if proof is not None]
        assert b"Digest" in first.body  # the server has told what it got, without the proof
        await assert_never_shown(rig, [first, *answers, *many, stale, wrong], *SECRETS.values(), *shown)
        calls = await rig.settled(11)
        assert {(c.decision["credential_kind"], c.decision["account"]) for c in calls} == {("digest", "signed/main")}
        assert await rig.problems() == ()


VARIANTS = (
    {"algorithm": "MD5", "qop": ""},
    {"algorithm": "MD5-sess", "extra": ", userhash=true"},
    {"algorithm": "SHA-512-256", "nextnonce": True},
    {"algorithm": "SHA-256-sess", "qop": "auth-int"},
    {"algorithm": "SHA-256", "qop": "auth,auth-int"},
)
NONSENSE = (
    "Digest",
    'Digest realm="r"',
    f'Digest realm="r", nonce="{"n" * 9000}"',
    'Digest realm="r", nonce="\\',
    "Digest ,,,==",
)


async def test_every_variant_and_nonsense_end_to_end(tmp_path):
    async with running_kind(tmp_path, {**KIND, "integrity": True}, SECRETS) as rig:
        for variant in VARIANTS:
            strict = DigestServer(SECRETS["user"], SECRETS["password"], realm=str(variant), **variant)
            rig.provider.on("/x", strict)
            sent = (("POST", b"a" * 999), ("GET", None), ("PUT", b""))
            answers = [await rig.call(method, "/x", content=body) for method, body in sent]
            assert [a.status for a in answers] == [200, 200, 200], strict.problems
            assert len(strict.problems) == 1
        for challenge in NONSENSE:
            rig.provider.on("/x", DigestServer(SECRETS["user"], SECRETS["password"], challenge=challenge))
            before = len(rig.provider.requests)
            assert [(await rig.call("GET", "/x")).status for _ in range(2)] == [401, 401]
            assert len(rig.provider.requests) <= before + 4


# -- lighttpd --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def lighttpd(folder):
    """On loopback, with /md5 and /sha behind Digest; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "www").mkdir()
    for name in ("md5", "sha"):
        (folder / "www" / name).write_text(f"file {name}")
    lines = [
        f"{SECRETS['user']}:{name}:" + hashlib.new(algorithm, f"{SECRETS['user']}:{name}:{SECRETS['password']}".encode()).hexdigest()
        for name, algorithm in (("md5", "md5"), ("sha", "sha256"))
    ]  # fmt: skip
    (folder / "users").write_text("\n".join(lines) + "\n")
    rules = ", ".join(
        f'"/{name}" => ("method" => "digest", "realm" => "{name}", "require" => "valid-user", "algorithm" => "{algorithm}")'
        for name, algorithm in (("md5", "MD5"), ("sha", "SHA-256"))
    )
    (folder / "lighttpd.conf").write_text(
        f'server.document-root = "{folder}/www"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        'server.modules = ("mod_auth", "mod_authn_file")\nauth.backend = "htdigest"\n'
        f'auth.backend.htdigest.userfile = "{folder}/users"\nauth.require = ({rules})\n'
    )
    server = subprocess.Popen(["lighttpd", "-D", "-f", str(folder / "lighttpd.conf")], stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait()


def relayed(port):
    """A handler that has another server answer."""

    async def handler(seen, _reader, writer):
        reader, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(seen.head[:-2] + b"Connection: close\r\n\r\n" + seen.body)
        writer.write(await reader.read())
        other.close()

    return handler


@pytest.mark.skipif(shutil.which("lighttpd") is None, reason="needs lighttpd (Debian: lighttpd)")
async def test_lighttpd_lets_us_in(tmp_path):
    async with lighttpd(tmp_path) as port, running_kind(tmp_path, KIND, SECRETS) as rig:
        for name in ("md5", "sha"):
            rig.provider.on(f"/{name}", relayed(port))
            for _ in range(2):
                answer = await rig.call("GET", f"/{name}")
                assert (answer.status, answer.body) == (200, f"file {name}".encode())
        assert len(rig.provider.requests) == 6  # a challenge for each realm
