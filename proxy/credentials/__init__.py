"""One file per credential kind. The union is the registry: a new kind is its file and one line here."""

from typing import Annotated

from pydantic import Field

from proxy.credentials.aws import AwsCredential
from proxy.credentials.aws_role import AwsRoleCredential
from proxy.credentials.aws_s3_express import AwsS3ExpressCredential
from proxy.credentials.azure import AzureCredential
from proxy.credentials.basic import BasicCredential
from proxy.credentials.body_field import BodyFieldCredential
from proxy.credentials.capability.kind import CapabilityCredential
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.digest import DigestCredential
from proxy.credentials.frames import FramesCredential
from proxy.credentials.github_app import GithubAppCredential
from proxy.credentials.google import GoogleCredential
from proxy.credentials.google_federation import GoogleFederationCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.hmac import HmacCredential
from proxy.credentials.http_signature import HttpSignatureCredential
from proxy.credentials.oauth import OAuthCredential
from proxy.credentials.path import PathCredential
from proxy.credentials.query import QueryCredential
from proxy.credentials.request_jwt import RequestJwtCredential
from proxy.credentials.several import SeveralCredentials
from proxy.credentials.snowflake import SnowflakeCredential
from proxy.credentials.tls_client import TlsClientCredential
from proxy.credentials.totp import TotpCredential
from proxy.credentials.vc.kind import VcCredential
from proxy.credentials.workload_federation import WorkloadFederationCredential

CredentialSpec = Annotated[
    AwsCredential
    | AwsRoleCredential
    | AwsS3ExpressCredential
    | AzureCredential
    | BasicCredential
    | BodyFieldCredential
    | CapabilityCredential
    | CookieCredential
    | DigestCredential
    | FramesCredential
    | GithubAppCredential
    | GoogleCredential
    | GoogleFederationCredential
    | HeaderCredential
    | HmacCredential
    | HttpSignatureCredential
    | OAuthCredential
    | PathCredential
    | QueryCredential
    | RequestJwtCredential
    | SeveralCredentials
    | SnowflakeCredential
    | TlsClientCredential
    | TotpCredential
    | VcCredential
    | WorkloadFederationCredential,
    Field(discriminator="kind"),
]

__all__ = ["CredentialSpec"]
