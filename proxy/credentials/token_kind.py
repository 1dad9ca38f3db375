"""What kinds have in common whose credential is one short-lived token in one header. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, override

from pydantic import Field

from proxy.credentials.header import with_headers
from proxy.credentials.kind import NOTHING_LEARNT, Credential, HeaderName, Kind, Lesson, Presented
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Moment
    from proxy.model import RequestHead, ResponseHead

TOKEN: Final = "access_token"  # noqa: S105  # the name of the secret
UNAUTHORIZED: Final = 401
SPARE_S: Final = 30
"""A token is not presented in its last seconds: the request has a way to go."""
EARLY_S: Final = 300
AGAIN_S: Final = 30
"""A rejected token is minted anew at most this often: the agent may be able to provoke a 401."""
_LAST: Final = "minted_again_s"


def credential(
    token: str, now_s: int, lifetime_s: int, *, also: Mapping[str, Secret] | None = None, most_s: int | None = None
) -> Credential:
    """The credential for `token`, which lives `lifetime_s` from now; a newer one is minted early.

    Args:
        token: what is presented.
        now_s: wall clock.
        lifetime_s: as the provider says.
        also: whatever else was seen and must not be seen by the agent.
        most_s: ends it earlier.
    """
    life_s = lifetime_s if most_s is None else min(lifetime_s, most_s)
    spare_s = min(SPARE_S, life_s // 10)
    return Credential(
        {**(also or {}), TOKEN: Secret("access token", token)},
        expires_at_s=now_s + life_s - spare_s,
        refresh_at_s=now_s + life_s - spare_s - min(EARLY_S, life_s // 4),
        token=TOKEN,
    )


class TokenKind(Kind):
    """Presents a token in a header, and has a new one minted where the provider rejects it before its time."""

    mints: ClassVar[bool] = True
    retries: ClassVar[int] = 1

    header: HeaderName = "Authorization"
    prefix: str = "Bearer "
    add_headers: dict[HeaderName, str] = Field(default={}, description="Fixed headers that go with it.")

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        value = self.prefix + credential.text(TOKEN)
        return Presented(with_headers(head, {**self.add_headers, self.header: value}), body)

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        if response.status != UNAUTHORIZED or moment.attempt:
            return NOTHING_LEARNT
        if moment.now_s - float(moment.learnt.get(_LAST, "0")) < AGAIN_S:
            return NOTHING_LEARNT
        return Lesson({_LAST: str(int(moment.now_s))}, again="mint")
