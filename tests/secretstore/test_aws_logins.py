"""Where the stores of AWS get their keys: every way against servers, and moto as the stores themselves."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import pytest

from proxy.secretstore import STORES, SecretUnavailableError
from tests.fakes.stores import aws
from tests.secretstore.benches import SecretsManagerBench, SetClock, stores_for

VALUE = "the-value-of-the-secret"


class Bench(SecretsManagerBench):
    auth: dict
    given: dict

    def settings(self):
        sts_address = {"sts_address": self.server.address}
        return super().settings() | sts_address | {"auth": self.auth}

    def environment(self):
        return self.given


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.auth, bench.given = {}, {}
    await bench.server.start()
    bench.put("one", VALUE)
    yield bench
    await bench.server.stop()


async def test_keys_of_the_settings_a_profile_and_the_environment(bench, tmp_path):
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = AKIANOBODY\naws_secret_access_key = x\n[side]\naws_access_key_id={aws.KEY_ID}\naws_secret_access_key = {aws.KEY}\n"
    )
    keys = {"A": aws.KEY_ID, "B": aws.KEY}
    for auth, given in (
        ({"method": "keys", "access_key_id": "env:A", "secret_access_key": "env:B"}, keys),
        ({"method": "profile", "profile": "side", "file": str(tmp_path / "credentials")}, {}),
        ({"method": "profile", "profile": "side"}, {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}),
        ({}, {"AWS_ACCESS_KEY_ID": aws.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws.KEY}),
    ):
        bench.auth, bench.given = auth, given
        assert (await stores_for(bench, SetClock()).get(bench.ref("one"))).reveal() == VALUE.encode(), auth


async def test_a_web_identity_becomes_a_session_once(bench, tmp_path):
    (tmp_path / "token").write_text(aws.WEB_TOKEN + "\n")
    for auth, given in (
        ({"method": "web_identity", "role_arn": aws.ROLE, "token": f"file:{tmp_path}/token"}, {}),
        ({}, {"AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token", "AWS_ROLE_ARN": aws.ROLE}),
    ):
        bench.auth, bench.given = auth, given
        bench.server.sts.asked.clear()
        stores = stores_for(bench, SetClock(), ttl_s=0)
        for _ in range(3):
            assert (await stores.get(bench.ref("one"))).reveal() == VALUE.encode()
        assert [form["Action"] for form in bench.server.sts.asked] == ["AssumeRoleWithWebIdentity"]
        bench.server.verifier.tokens.clear()  # the session is ended before its time: another one is asked for
        bench.server.verifier.keys = {aws.KEY_ID: aws.KEY}
        assert (await stores.get(bench.ref("one"))).reveal() == VALUE.encode()
        assert len(bench.server.sts.asked) == 2


async def test_a_container_is_asked_at_the_machine_only(bench, tmp_path):
    heads = []

    async def metadata(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        ends = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        body = json.dumps(
            {"AccessKeyId": "ASIACONTAINER1234567", "SecretAccessKey": "k" * 40, "Token": "t" * 50, "Expiration": ends}
        )
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    bench.server.verifier.keys["ASIACONTAINER1234567"] = "k" * 40
    bench.server.verifier.tokens["ASIACONTAINER1234567"] = "t" * 50
    server = await asyncio.start_server(metadata, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / "pod").write_text("the-token-of-the-pod")
    bench.given = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{tmp_path}/pod",
    }
    assert (await stores_for(bench, SetClock()).get(bench.ref("one"))).reveal() == VALUE.encode()
    assert heads[0].startswith("GET /v1/credentials HTTP/1.1\r\n")
    assert "authorization: the-token-of-the-pod\r\n" in heads[0].lower()
    for place in (
        "http://example.com/x",
        "http://93.184.216.34/x",
        "ftp://127.0.0.1/",
        "http://",
        "https://example.com/",
    ):
        bench.given = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": place}
        with pytest.raises(SecretUnavailableError):
            await stores_for(bench, SetClock()).get(bench.ref("one"))
    server.close()


async def test_in_ga_no_keys_come_from_the_environment(bench):
    from proxy.secretstore.awssm import SecretsManagerStore
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

    settings = Settings.model_validate_json(
        json.dumps({"version": 1, "mode": "ga", "secret_stores": {"awssm": bench.settings()}})
    )
    given = {"AWS_ACCESS_KEY_ID": aws.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws.KEY}
    means = Means(http=None, clock=SetClock(), read=None, environment=given)
    with pytest.raises(SecretUnavailableError):
        await SecretsManagerStore.made(settings, means).fetch("one")


async def test_p5_without_usable_keys_nothing_is_asked(bench, tmp_path):
    (tmp_path / "broken").write_text("[default\n")
    for auth, given in (
        ({}, {}),
        ({}, {"AWS_ACCESS_KEY_ID": aws.KEY_ID}),
        ({"method": "profile", "file": str(tmp_path / "broken")}, {}),
        ({"method": "profile", "file": str(tmp_path / "absent")}, {}),
        ({"method": "web_identity", "role_arn": aws.ROLE, "token": "env:T"}, {"T": "somebody-elses-token"}),
    ):
        bench.auth, bench.given = auth, given
        with pytest.raises(SecretUnavailableError):
            await stores_for(bench, SetClock()).get(bench.ref("one"))
    assert bench.server.questions == 0


@pytest.mark.parametrize(("ref", "good"), [
    ("awssm:prod/github", True), ("awssm:prod/github#token", True), ("awssm:a b", False), ("awssm:x#", False), ("awssm:../x?y", False),
    ("awssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/github-AbCdEf#token", True), ("awssm:arn:aws:s3:::x", False),
    ("awsssm:/agents/github", True), ("awsssm:github:3", True), ("awsssm:arn:aws:ssm:eu-west-1:123456789012:parameter/a/b", True),
    ("awsssm:a b", False), ("awsssm:", False), ("awsssm:/a#b", False),
])  # fmt: skip
def test_refs(ref, good):
    scheme, _, place = ref.partition(":")
    assert (STORES[scheme].bad_place(place) is None) == good


@pytest.mark.slow
async def test_moto_as_the_stores(tmp_path):
    from tests.aws.moto_server import Moto, policy

    host = "secretsmanager.us-east-1.amazonaws.com"
    moto = Moto(tmp_path, (host,))
    await moto.start()

    def prepared():
        moto.reset()
        iam = moto.client("iam")
        iam.create_user(UserName="u")
        iam.put_user_policy(
            UserName="u", PolicyName="p", PolicyDocument=policy("secretsmanager:GetSecretValue", "ssm:GetParameter")
        )
        moto.client("secretsmanager").create_secret(Name="prod/github", SecretString=json.dumps({"token": VALUE}))
        moto.client("secretsmanager").create_secret(Name="raw", SecretBinary=b"\0\xffbinary-value")
        moto.client("ssm").put_parameter(Name="/agents/github", Value=VALUE, Type="SecureString")
        made = iam.create_access_key(UserName="u")["AccessKey"]
        moto.check_from_now_on()
        return made["AccessKeyId"], made["SecretAccessKey"]

    key_id, key = await asyncio.to_thread(prepared)

    class Place:
        server = type("S", (), {"host": host, "provider": moto})

    for scheme, refs in (
        ("awssm", {"awssm:prod/github#token": VALUE.encode(), "awssm:raw": b"\0\xffbinary-value"}),
        ("awsssm", {"awsssm:/agents/github": VALUE.encode(), "awsssm:/agents/github:1": VALUE.encode()}),
    ):
        bench = Place()
        bench.scheme = scheme
        bench.settings = lambda: {"address": f"https://{host}:{moto.port}", "region": "us-east-1"}
        bench.environment = lambda: {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": key}
        stores = stores_for(bench, SetClock())
        for ref, value in refs.items():
            assert (await stores.get(ref)).reveal() == value, ref
        with pytest.raises(SecretUnavailableError) as failed:
            await stores.get(f"{scheme}:absent")
        assert "no such secret" in failed.value.reason
        bench.environment = lambda: {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": "wrong"}
        with pytest.raises(SecretUnavailableError):
            await stores_for(bench, SetClock()).get(next(iter(refs)))
    await moto.stop()
