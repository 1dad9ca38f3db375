"""`kind: digest`: HTTP Digest (RFC 7616), learnt from the challenge. See docs/credentials/digest.md."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, override
from urllib.parse import quote

from pydantic import Field, model_validator

from proxy.credentials.challenges import challenges, parameters, quoted
from proxy.credentials.header import with_headers
from proxy.credentials.kind import NOTHING_LEARNT, Kind, Lesson, Presented, fit_for_header, named_in
from proxy.credentials.signing_text import target_of
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead, ResponseHead

Algorithm = Literal["SHA-512-256", "SHA-256", "MD5"]
HASHES: Final[Mapping[str, str]] = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
MAX_VALUE: Final = 4000
REMEMBERED: Final = ("realm", "nonce", "opaque", "algorithm", "qop", "userhash")


class DigestCredential(Kind):
    """Answers the provider's Digest challenge; with a nonce that is known, without waiting for one."""

    kind: Literal["digest"]
    username: str = Field(min_length=1, description="A literal with `{secret_name}` placeholders.")
    password: str = Field(min_length=1, description="A literal with `{secret_name}` placeholders.")
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = Field(
        default=("SHA-512-256", "SHA-256", "MD5"), description="What may be used, the best first."
    )
    realm: str | None = Field(default=None, description="The only realm that is answered; none: any of the host.")
    integrity: bool = Field(default=False, description="Cover the body (`auth-int`) where the provider offers it.")
    retries: ClassVar[int] = 1

    @model_validator(mode="after")
    def _can_be_encoded(self) -> Self:
        if not (self.username + self.password).isascii():
            raise ValueError("user name and password are ASCII besides their placeholders: put the rest into a secret")
        return self

    @property
    def needs_body(self) -> bool:  # type: ignore[override]
        """Only for `auth-int`."""
        return self.integrity

    @override
    def secret_names(self) -> frozenset[str]:
        return named_in(self.username, self.password)

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        yield from ()
        clean = replace(head, headers=tuple(pair for pair in head.headers if pair[0] != "authorization"))
        known = moment.learnt
        if not known.get("nonce"):
            return Presented(clean, body)
        answer = self._answer(credential, head, body, known, moment.count)
        if answer is None:
            return Presented(clean, body)
        value, response = answer
        # Passwords can be guessed against it: a provider that echoes requests must not show it.
        made = {"digest_response": Secret("Digest response", response)}
        return Presented(with_headers(clean, {"authorization": value}), body, made)

    def _answer(
        self, credential: Credential, head: RequestHead, body: bytes | None, known: Mapping[str, str], count: int
    ) -> tuple[str, str] | None:
        """The value of Authorization, and the proof in it; None where the challenge wants the body and it streams."""
        qop = self._qop(known["qop"], held=body is not None or not head.has_body)
        if qop is None:
            return None
        name, sess = known["algorithm"].removesuffix("-sess"), known["algorithm"].endswith("-sess")
        user, password = (credential.filled(text).encode("latin-1") for text in (self.username, self.password))
        realm, nonce, cnonce = (known[part].encode("latin-1") for part in ("realm", "nonce", "cnonce"))
        uri, counted = target_of(head), f"{count:08x}"
        a1 = b":".join((user, realm, password))
        if sess:
            a1 = b":".join((_hash(name, a1), known["session_nonce"].encode("latin-1"), cnonce))
        a2 = f"{head.method}:{uri}".encode()
        if qop == "auth-int":
            a2 += b":" + _hash(name, body or b"")
        middle = (counted.encode(), cnonce, qop.encode()) if qop else ()
        response = _hash(name, b":".join((_hash(name, a1), nonce, *middle, _hash(name, a2)))).decode()
        fields = [
            *_named(name, user, realm, hashed=known.get("userhash", "") == "true"),
            f"realm={quoted(known['realm'])}",
            f"nonce={quoted(known['nonce'])}",
            f"uri={quoted(uri)}",
            f'response="{response}"',
            f"algorithm={known['algorithm']}",
        ]
        if known.get("opaque"):
            fields.append(f"opaque={quoted(known['opaque'])}")
        if qop:
            fields += [f"qop={qop}", f"nc={counted}", f'cnonce="{known["cnonce"]}"']
        return fit_for_header("Digest " + ", ".join(fields)), response

    def _qop(self, offered: str, *, held: bool) -> str | None:
        """Which protection: "" is the one of RFC 2069, without any; None is none that can be given."""
        names = {part.strip().lower() for part in offered.split(",")} - {""}
        if not names:
            return ""
        if "auth-int" in names and held and (self.integrity or "auth" not in names):
            return "auth-int"
        return "auth" if "auth" in names else None

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        del credential
        if response.status != HTTPStatus.UNAUTHORIZED:
            info = next((value for name, value in response.headers if name == "authentication-info"), "")
            coming = parameters(info).get("nextnonce", "") if info else ""
            return Lesson({"nonce": coming}) if coming and moment.learnt.get("nonce") else NOTHING_LEARNT
        chosen = self._chosen(challenges(response, "digest"))
        if chosen is None:
            return NOTHING_LEARNT
        answered = head.header("authorization") is not None
        stale = chosen.get("stale", "").lower() == "true"
        if (
            answered and not stale and chosen["realm"] == moment.learnt.get("realm")
        ):  # the password is wrong, or the provider has forgotten its nonces: no second guess
            return Lesson({"nonce": ""})
        facts = {name: chosen.get(name, "") for name in REMEMBERED}
        facts |= {
            "algorithm": _algorithm(chosen),
            "session_nonce": facts["nonce"],
            "userhash": facts["userhash"].lower(),
        }
        same = facts.items() <= moment.learnt.items()
        facts["cnonce"] = moment.learnt["cnonce"] if same else secrets.token_hex(16)
        return Lesson(facts, again="prove" if moment.attempt == 0 else "no")

    def _chosen(self, offered: tuple[Mapping[str, str], ...]) -> Mapping[str, str] | None:
        """The challenge with the best algorithm that the profile allows."""
        fitting = [
            challenge
            for challenge in offered
            if challenge.get("nonce")
            and "realm" in challenge
            and self.realm in (None, challenge["realm"])
            and max(map(len, challenge.values())) <= MAX_VALUE  # a longer one is not remembered
        ]
        for name in self.algorithms:
            for challenge in fitting:
                if _algorithm(challenge).removesuffix("-sess") == name:
                    return challenge
        return None


def _algorithm(challenge: Mapping[str, str]) -> str:
    """In the RFC's spelling; MD5 where the challenge does not say."""
    given = challenge.get("algorithm", "") or "MD5"
    base = given[:-5] if given.lower().endswith("-sess") else given
    return base.upper() + ("-sess" if base != given else "")


def _hash(name: str, data: bytes) -> bytes:
    return hashlib.new(HASHES[name], data, usedforsecurity=False).hexdigest().encode()


def _named(name: str, user: bytes, realm: bytes, *, hashed: bool) -> tuple[str, ...]:
    """The user's name: hashed, plain, or, where it is not ASCII, as RFC 8187 has it (RFC 7616, section 3.4.4)."""
    if hashed:
        return (f'username="{_hash(name, user + b":" + realm).decode()}"', "userhash=true")
    if user.isascii():
        return (f"username={quoted(user.decode())}",)
    return (f"username*=UTF-8''{quote(user, safe='')}",)
