"""Which service and region a host of AWS belongs to. Pure; facts from AWS's service endpoints reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws", ".api.amazonwebservices.com.cn")
REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]{2,10}){1,2}-\d{1,2}")
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
    region = None
    for at in (-1, -2):  # search-x.eu-west-1.es.amazonaws.com has it second to last
        if len(labels) >= -at and REGION.fullmatch(labels[at]):
            region = labels.pop(at)
            break
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
    return (last,)
