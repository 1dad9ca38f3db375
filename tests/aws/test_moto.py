"""boto3 and the AWS CLI as agents, moto behind the sidecar with signatures and policies checked (botocore's own code)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.conftest import PROFILE, escaped
from tests.aws.moto_server import TRUST, Moto, policy
from tests.aws.test_roles import KINDS
from tests.rig.program import clean_environment, ended, started
from tests.rig.shipped import shipped_text
from tests.rig.sidecar import running_rig

pytestmark = pytest.mark.slow
STOCK = Path(__file__).parents[1] / "answers" / "stock_program.py"
HOSTS = (
    "s3.us-east-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "dynamodb.us-east-1.amazonaws.com",
    "iam.amazonaws.com",
)


def prepared(moto):
    """The sidecar's key pair, and roles by name; then moto begins to check."""
    moto.reset()
    iam = moto.client("iam")
    iam.create_user(UserName="sidecar")
    iam.put_user_policy(UserName="sidecar", PolicyName="p", PolicyDocument=policy("sts:AssumeRole", "s3:*"))
    made = iam.create_access_key(UserName="sidecar")["AccessKey"]
    roles = {}
    for name, actions in (("tables", ("dynamodb:*",)), ("buckets", ("s3:ListBucket", "s3:GetObject"))):
        roles[name] = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*actions))
    moto.check_from_now_on()
    return made, roles


@pytest.fixture
async def stock(tmp_path):
    """The shipped profile in front of moto, and the roles by name."""
    moto = Moto(tmp_path, HOSTS)
    await moto.start()
    made, roles = await asyncio.to_thread(prepared, moto)
    keys = {"access_key_id": "env:ID", "secret_access_key": "env:KEY"}
    accounts = {"main": {"secrets": keys, "default": True}}
    accounts |= {name: {"secrets": keys, "variables": {"role_arn": arn}} for name, arn in roles.items()}
    text = shipped_text("aws").replace(
        "    sts_region:", "    sts_url: https://sts.{{sts_region}}.amazonaws.com:{port}/\n    sts_region:"
    )
    async with running_rig(
        tmp_path, profiles={"aws": text}, settings={"providers": {"aws": {"accounts": accounts}}},
        environment={"ID": made["AccessKeyId"], "KEY": made["SecretAccessKey"]}, hosts=HOSTS, provider=moto,
    ) as found:  # fmt: skip
        found.real = made["AccessKeyId"], made["SecretAccessKey"]
        yield found, roles
    await moto.stop()


@pytest.fixture
async def rig(tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    moto = Moto(tmp_path, HOSTS)
    await moto.start()
    made, roles = await asyncio.to_thread(prepared, moto)
    keys = {"access_key_id": "env:ID", "secret_access_key": "env:KEY"}
    accounts = {
        "main": {"secrets": keys, "default": True},
        **{name: {"secrets": keys, "variables": {"role_arn": arn}} for name, arn in roles.items()},
    }
    hosts = "\n".join(f"  - {{host: {host}, port: @port@}}" for host in HOSTS)
    text = PROFILE.replace("credentials:\n  keys: ", KINDS).replace(
        "variables:\n", "variables:\n  role_arn: {{pattern: '[ -~]+'}}\n  external_id: {{}}\n"
    )
    text = text.replace("secrets:\n", "secrets:\n  web_token: {{env: [T], stand_in: {{length: 40}}}}\n")
    async with running_rig(
        tmp_path, profiles={"aws": escaped(text.format(hosts=hosts))}, settings={"providers": {"aws": {"accounts": accounts}}},
        environment={"ID": made["AccessKeyId"], "KEY": made["SecretAccessKey"]}, hosts=HOSTS, provider=moto,
    ) as found:  # fmt: skip
        found.real = made["AccessKeyId"], made["SecretAccessKey"]
        yield found
    await moto.stop()


def agent(rig, service, account="main", **config):
    """boto3 as an agent has it: the sidecar's proxy, its bundle, stand-ins."""
    return boto3.client(
        service, "us-east-1", endpoint_url=f"https://{service}.us-east-1.amazonaws.com:{rig.provider.port}", verify=str(rig.bundle),
        aws_access_key_id=rig.stand_in("aws", "access_key_id", account),
        aws_secret_access_key=rig.stand_in("aws", "secret_access_key", account),
        config=Config(proxies={"https": rig.url()}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )  # fmt: skip


async def test_boto3_puts_gets_and_lists_on_s3(rig):
    def work():
        s3 = agent(rig, "s3")
        s3.create_bucket(Bucket="pets")
        data = os.urandom(6_000_000)
        s3.put_object(Bucket="pets", Key="a b/(c)+d=e~ä.bin", Body=data)
        assert s3.get_object(Bucket="pets", Key="a b/(c)+d=e~ä.bin")["Body"].read() == data
        assert [o["Key"] for o in s3.list_objects_v2(Bucket="pets", Prefix="a b/(")["Contents"]] == [
            "a b/(c)+d=e~ä.bin"
        ]
        assert s3.head_object(Bucket="pets", Key="a b/(c)+d=e~ä.bin")["ContentLength"] == len(data)
        s3.delete_object(Bucket="pets", Key="a b/(c)+d=e~ä.bin")

    await asyncio.to_thread(work)
    calls = await rig.settled(6)
    assert {c.decision["account"] for c in calls} == {"aws/main"}
    assert {c.outcome["status"] for c in calls} <= {200, 204}


async def test_a_role_is_told_by_the_stand_in_and_may_do_what_the_role_may(rig):
    def work():
        tables, buckets = agent(rig, "dynamodb", "tables"), agent(rig, "dynamodb", "buckets")
        assert tables.list_tables()["TableNames"] == []
        with pytest.raises(ClientError) as refused:
            buckets.list_tables()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        who = agent(rig, "sts", "tables").get_caller_identity()["Arn"]
        assert who.endswith("assumed-role/tables/briefcased-tester")

    await asyncio.to_thread(work)


async def test_a_stock_boto3_without_credentials_is_signed_for_and_assumes_roles(stock, tmp_path):
    """The shipped profile: instance metadata, then STS for a role; what the role may not do is refused by moto."""
    rig, roles = stock
    url, sts = (f"https://{name}.us-east-1.amazonaws.com:{rig.provider.port}" for name in ("dynamodb", "sts"))

    async def program(*arguments):
        patient = {"AWS_METADATA_SERVICE_TIMEOUT": "20"}
        env = {**clean_environment(tmp_path), **rig.env(), "BOTO_CONFIG": "/dev/null", **patient}
        done = await ended(await started(sys.executable, str(STOCK), "aws", *arguments, env=env, cwd=tmp_path))
        for secret in rig.real:
            assert secret not in done.out + done.err
        return done

    first, tables, buckets, nobody = [
        await program(url, *(f"{sts} {arn}" for arn in more))
        for more in ([], [roles["tables"]], [roles["buckets"]], ["arn:aws:iam::123456789012:role/none"])
    ]
    assert "AccessDenied" in first.err  # the account's own keys may use S3 and assume roles
    assert tables.code == 0, tables.err
    assert json.loads(tables.out)[1] == rig.stand_in("aws", "access_key_id", "tables")
    assert json.loads(tables.out)[4] == []
    assert "AccessDenied" in buckets.err
    assert "(AccessDenied) when calling the AssumeRole" in nobody.err


async def test_moto_does_check(rig):
    def work():
        with pytest.raises(ClientError) as refused:
            rig.provider.client("s3", "AKIANOBODY", "x").list_buckets()
        assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"
        with pytest.raises(ClientError) as refused:
            rig.provider.client("s3", rig.real[0], "wrong").list_buckets()
        assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"

    await asyncio.to_thread(work)


async def test_the_aws_cli_is_an_agent(rig, tmp_path):
    program = shutil.which("aws")
    if program is None:
        pytest.skip("no AWS CLI here")

    async def aws(*arguments, account="main", service="s3"):
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), **rig.env(), "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": rig.stand_in("aws", "access_key_id", account),
            "AWS_SECRET_ACCESS_KEY": rig.stand_in("aws", "secret_access_key", account),
            "AWS_ENDPOINT_URL": f"https://{service}.us-east-1.amazonaws.com:{rig.provider.port}",
        }  # fmt: skip
        for name in ("PYENV_ROOT", "PYENV_VERSION"):
            if name in os.environ:
                environment[name] = os.environ[name]
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode(), err.decode()

    (tmp_path / "big.bin").write_bytes(os.urandom(9_000_000))  # more than one part
    seen = [
        await aws("s3", "mb", "s3://toys"),
        await aws("s3", "cp", str(tmp_path / "big.bin"), "s3://toys/big.bin"),
        await aws("s3", "ls", "s3://toys/"),
        await aws("s3", "cp", "s3://toys/big.bin", str(tmp_path / "back.bin")),
        await aws("sts", "get-caller-identity", service="sts", account="buckets"),
    ]
    assert [code for code, _, _ in seen] == [0] * 5, seen
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "big.bin").read_bytes()
    assert "assumed-role/buckets/briefcased-tester" in seen[-1][1]
    for text in seen:
        for secret in rig.real:
            assert secret not in "".join(map(str, text))
