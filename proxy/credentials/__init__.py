"""One file per credential kind. The union is the registry: a new kind is its file and one line here."""

from typing import Annotated

from pydantic import Field

from proxy.credentials.basic import BasicCredential
from proxy.credentials.body_field import BodyFieldCredential
from proxy.credentials.capability.kind import CapabilityCredential
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.digest import DigestCredential
from proxy.credentials.frames import FramesCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.hmac import HmacCredential
from proxy.credentials.http_signature import HttpSignatureCredential
from proxy.credentials.oauth import OAuthCredential
from proxy.credentials.path import PathCredential
from proxy.credentials.query import QueryCredential
from proxy.credentials.several import SeveralCredentials
from proxy.credentials.tls_client import TlsClientCredential
from proxy.credentials.totp import TotpCredential
from proxy.credentials.vc.kind import VcCredential

CredentialSpec = Annotated[
    HeaderCredential
    | BasicCredential
    | QueryCredential
    | PathCredential
    | CookieCredential
    | BodyFieldCredential
    | FramesCredential
    | DigestCredential
    | HmacCredential
    | TotpCredential
    | TlsClientCredential
    | HttpSignatureCredential
    | OAuthCredential
    | VcCredential
    | CapabilityCredential
    | SeveralCredentials,
    Field(discriminator="kind"),
]

__all__ = ["CredentialSpec"]
