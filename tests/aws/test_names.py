"""Hosts of AWS, and what they say; the AWS SDK for Python is the second opinion."""

from __future__ import annotations

from urllib.parse import urlsplit

import botocore.session
import pytest

from proxy.aws.names import Place, place_of

PLACES = {
    "dynamodb.eu-west-1.amazonaws.com": Place(("dynamodb",), "eu-west-1"),
    "dynamodb-fips.us-gov-west-1.amazonaws.com": Place(("dynamodb",), "us-gov-west-1"),
    "dynamodb.cn-north-1.amazonaws.com.cn": Place(("dynamodb",), "cn-north-1"),
    "iam.amazonaws.com": Place(("iam",), None),
    "s3.amazonaws.com": Place(("s3",), None),
    "s3-eu-west-1.amazonaws.com": Place(("s3",), "eu-west-1"),
    "s3.dualstack.eu-west-1.amazonaws.com": Place(("s3",), "eu-west-1"),
    "my.bucket.s3.eu-west-1.amazonaws.com": Place(("s3",), "eu-west-1"),
    "b.s3.amazonaws.com": Place(("s3",), None),
    "123.s3-control.eu-west-1.amazonaws.com": Place(("s3",), "eu-west-1"),
    "x.mrap.accesspoint.s3-global.amazonaws.com": Place(("s3",), "*"),
    "bedrock-runtime.us-east-1.amazonaws.com": Place(("bedrock",), "us-east-1"),
    "runtime.sagemaker.us-east-1.amazonaws.com": Place(("sagemaker",), "us-east-1"),
    "search-x.us-east-1.es.amazonaws.com": Place(("es",), "us-east-1"),
    "abc.execute-api.us-east-1.amazonaws.com": Place(("execute-api",), "us-east-1"),
    "abc.lambda-url.us-east-1.on.aws": Place(("lambda",), "us-east-1"),
    "lambda.us-east-1.api.aws": Place(("lambda",), "us-east-1"),
    "us-west-2.queue.amazonaws.com": Place(("sqs",), "us-west-2"),
    "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com": Place(("s3express",), "us-east-1"),
    "s3express-control.us-east-1.amazonaws.com": Place(("s3express",), "us-east-1"),
    "b.vpce-0a1b-2c3d.s3.us-east-1.vpce.amazonaws.com": Place(("s3",), "us-east-1"),
    "vpce-0a1b-2c3d.dynamodb.us-east-1.vpce.amazonaws.com": Place(("dynamodb",), "us-east-1"),
    "dynamodb.eusc-de-east-1.amazonaws.eu": Place(("dynamodb",), "eusc-de-east-1"),
    # A bucket that is called like a region does not say where it is.
    "us-west-2.s3.amazonaws.com": Place(("s3",), None),
    "pets.us-west-2.s3.amazonaws.com": Place(("s3",), None),
    "us-west-2.s3-accelerate.amazonaws.com": Place(("s3",), None),
    "us-west-2.s3.eu-west-1.amazonaws.com": Place(("s3",), "eu-west-1"),
}


def test_what_hosts_say():
    assert {host: place_of(host) for host in PLACES} == PLACES


@pytest.mark.parametrize(
    "host", ["amazonaws.com", "example.com", "dynamodb.us-east-1.amazonaws.com.evil.test", "amazonaws.com.test"]
)
def test_hosts_that_are_not_awss_say_nothing(host):
    assert place_of(host) is None


@pytest.mark.slow
def test_every_service_of_the_sdk_is_known_by_its_host():
    session, wrong, count = botocore.session.get_session(), [], 0
    for name in session.get_available_services():
        client = session.create_client(name, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
        model, host = client.meta.service_model, urlsplit(client.meta.endpoint_url).hostname
        prefixes = {(model.operation_model(o).endpoint or {}).get("hostPrefix", "") for o in model.operation_names}
        for prefix in prefixes:
            place = place_of(prefix.translate({ord("{"): None, ord("}"): None}) + host)
            count += 1
            if place is None or model.signing_name not in place.services:
                wrong.append((name, prefix, host, model.signing_name, place))
    assert wrong == []
    assert count > 400
