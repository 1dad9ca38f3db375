"""OAuth 2 on the client's side."""

from proxy.credentials.oauth.kind import OAuthCredential

__all__ = ["OAuthCredential"]
