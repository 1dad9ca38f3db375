"""Which service and region a host of AWS belongs to. Pure; facts from AWS's service endpoints reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SUFFIXES: Final = (
    ".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".on.aws",
    ".api.amazonwebservices.com.cn", ".api.amazonwebservices.eu",
)  # fmt: skip
REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,10}){1,2}-\d{1,2}")
GLOBAL_REGION: Final = "us-east-1"
"""Of hosts that name no region, where a request does not say another."""
EVERY_REGION: Final = "*"

# Host label(s) before the region, where the signing name is another one.
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "a2i-runtime.sagemaker": ("sagemaker",),
    "account-access-runtime": ("account-access",),
    "admin.wickr": ("wickr",),
    "agent-registry-control": ("agent-registry",),
    "agreement-marketplace": ("aws-marketplace",),
    "analytics-omics": ("omics",),
    "api.detective": ("detective",),
    "api.ecr": ("ecr",),
    "api.ecr-public": ("ecr-public",),
    "api.iotdeviceadvisor": ("iotdeviceadvisor",),
    "api.iotwireless": ("iotwireless",),
    "api.mediatailor": ("mediatailor",),
    "api.pricing": ("pricing",),
    "api.sagemaker": ("sagemaker",),
    "api.tunneling.iot": ("IoTSecuredTunneling",),
    "appconfigdata": ("appconfig",),
    "appstream2": ("appstream",),
    "bedrock-agent": ("bedrock",),
    "bedrock-agent-runtime": ("bedrock",),
    "bedrock-agentcore-control": ("bedrock-agentcore",),
    "bedrock-data-automation": ("bedrock",),
    "bedrock-data-automation-runtime": ("bedrock",),
    "bedrock-runtime": ("bedrock",),
    "cassandra-streams": ("cassandra",),
    "catalog.marketplace": ("aws-marketplace",),
    "cloudhsmv2": ("cloudhsm",),
    "cloudsearchdomain": ("cloudsearch",),
    "cloudwatch-omni": ("cloudwatch",),
    "codecatalyst.global": ("codecatalyst",),
    "contact-lens": ("connect",),
    "control-storage-omics": ("omics",),
    "controlplane.payment-cryptography": ("payment-cryptography",),
    "data-ats.iot": ("iotdata",),
    "data-lakeformation": ("lakeformation",),
    "data-servicediscovery": ("servicediscovery",),
    "data-signer": ("signer",),
    "data.iot": ("iotdata",),
    "data.jobs.iot": ("iot-jobs-data",),
    "data.mediastore": ("mediastore",),
    "dataplane.payment-cryptography": ("payment-cryptography",),
    "deployment-marketplace": ("aws-marketplace",),
    "discovery-marketplace": ("aws-marketplace",),
    "email": ("ses",),
    "entitlement.marketplace": ("aws-marketplace",),
    "eventsv2": ("events",),
    "featurestore-runtime.sagemaker": ("sagemaker",),
    "forecastquery": ("forecast",),
    "iam-toolbox": ("iam",),
    "identity-chime": ("chime",),
    "ingest.timestream": ("timestream",),
    "iot": ("iot", "iotdata"),
    "ivsrealtime": ("ivs",),
    "lambda-url": ("lambda",),
    "mail-manager": ("ses",),
    "media-pipelines-chime": ("chime",),
    "meetings-chime": ("chime",),
    "memory-db": ("memorydb",),
    "messaging-chime": ("chime",),
    "metering.marketplace": ("aws-marketplace",),
    "metrics.sagemaker": ("sagemaker",),
    "migrationhub-config": ("mgh",),
    "models-v2-lex": ("lex",),
    "models.lex": ("lex",),
    "oidc": ("sso-oauth",),
    "participant.connect": ("execute-api",),
    "partnercentral-prm": ("partnercentral",),
    "personalize-events": ("personalize",),
    "personalize-runtime": ("personalize",),
    "pinpoint": ("mobiletargeting",),
    "portal.sso": ("awsssoportal",),
    "query-lakeformation": ("lakeformation",),
    "query.timestream": ("timestream",),
    "queue": ("sqs",),
    "reporting-marketplace": ("aws-marketplace",),
    "runtime-medical-imaging": ("medical-imaging",),
    "runtime-v2-lex": ("lex",),
    "runtime.lex": ("lex",),
    "runtime.sagemaker": ("sagemaker",),
    "s3-accelerate": ("s3",),
    "s3-accesspoint": ("s3",),
    "s3-control": ("s3",),
    "s3express-control": ("s3express",),
    "servicecatalog-appregistry": ("servicecatalog",),
    "sms-voice.pinpoint": ("sms-voice",),
    "storage-omics": ("omics",),
    "stream-logs": ("logs",),
    "streams.dynamodb": ("dynamodb",),
    "sync-states": ("states",),
    "tags-omics": ("omics",),
    "transcribestreaming": ("transcribe",),
    "voice-chime": ("chime",),
    "workflows-omics": ("omics",),
}
_MULTI_REGION: Final = ".accesspoint.s3-global"
_EXPRESS_ZONE: Final = re.compile(r"s3express(?:-fips)?-[a-z0-9-]{1,32}")
_REGION_BEFORE: Final = frozenset({"aoss", "cloudsearch", "elb", "es", "queue", "rds"})
"""Labels that follow the region. Before any other may stand a customer's name, such as a bucket's that is a region."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a host says: the signing names that it takes, the usual one first; its region, or None for a global host."""

    services: tuple[str, ...]
    region: str | None


def place_of(host: str) -> Place | None:
    """What `host` says; None where it is none of AWS's."""
    suffix = next((suffix for suffix in SUFFIXES if host.endswith(suffix)), None)
    if suffix is None:
        return None
    name = host.removesuffix(suffix)
    if name.endswith(_MULTI_REGION):
        return Place(("s3",), EVERY_REGION)
    labels = name.split(".")
    if labels[-1].startswith("s3-") and REGION.fullmatch(labels[-1][3:]):  # the old form s3-eu-west-1
        return Place(("s3",), labels[-1][3:])
    if labels[-1] == "vpce":  # bucket.vpce-0123.s3.eu-west-1.vpce.amazonaws.com
        labels.pop()
    region = None
    if labels and REGION.fullmatch(labels[-1]):
        region = labels.pop()
    elif labels[-1:] and labels[-1] in _REGION_BEFORE and len(labels) > 1 and REGION.fullmatch(labels[-2]):
        region = labels.pop(-2)  # search-x.eu-west-1.es.amazonaws.com
    labels = [label for label in labels if label not in ("dualstack", "fips")]
    return Place(_services(labels), region) if labels else None


def _services(labels: list[str]) -> tuple[str, ...]:
    """By the longest tail that is known, else the last label."""
    last = labels[-1].removesuffix("-fips").removeprefix("fips-")
    labels = [*labels[:-1], last]
    for count in (3, 2, 1):
        known = _ALIASES.get(".".join(labels[-count:]))
        if known is not None:
            return known
    return ("s3express",) if _EXPRESS_ZONE.fullmatch(last) else (last,)
