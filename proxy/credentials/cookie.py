"""`kind: cookie`: one cookie (RFC 6265, section 4.2). See docs/credentials/cookie.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, override

from proxy.credentials.header import with_headers
from proxy.credentials.kind import HeaderName, Kind, Presented, SecretName, unusable
from proxy.errors import Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead

_VALUE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


class CookieCredential(Kind):
    """Sets one cookie to the secret; other cookies of the agent are dropped."""

    kind: Literal["cookie"]
    cookie: HeaderName
    secret: SecretName

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret})

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        value = credential.text(self.secret)
        if not _VALUE.fullmatch(value):
            raise Refused(unusable("The secret has characters that a cookie cannot hold."))
        return Presented(with_headers(head, {"cookie": f"{self.cookie}={value}"}), body)
