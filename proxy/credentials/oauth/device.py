"""The device authorization grant: a code that a person enters elsewhere. Generators, no I/O, no waiting.

    device = yield from start_device(kind, given, at)
    polled = yield from poll(kind, given, at, device)      a credential, `pending` or `slow_down`

Source: RFC 8628.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from proxy.credentials.kind import filled
from proxy.credentials.oauth.authorize import SAID_NO, asked, client_id, json_object, question, refusal
from proxy.credentials.oauth.introspection import introspected
from proxy.credentials.oauth.login import ANY_LOGIN
from proxy.credentials.oauth.metadata import is_endpoint
from proxy.credentials.oauth.reply import TOKEN, TokenRefusedError, error_code, failed, read_reply
from proxy.credentials.oauth.request import ask

if TYPE_CHECKING:
    from pydantic import JsonValue

    from proxy.credentials.kind import Credential, Ingredients, Minting
    from proxy.credentials.oauth.kind import OAuthCredential
    from proxy.credentials.oauth.login import Login
    from proxy.credentials.oauth.places import Places
    from proxy.credentials.oauth.request import Question

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_S: Final = 5
"""Where the server says none (section 3.2)."""
SLOWER_S: Final = 5
"""What `slow_down` adds, for good (section 3.5)."""
MAX_INTERVAL_S: Final = 300
MAX_EXPIRY_S: Final = 3600
MAX_CODE_CHARACTERS: Final = 8192
USER_CODE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?")
OK: Final = 200
ENDED: Final = {
    "access_denied": "The person, or the provider, said no.",
    "expired_token": "Nobody entered the code in time.",
}


@dataclass(frozen=True, slots=True)
class Device:
    """What a person is shown, exactly as the server wrote it, and how often the server may be asked."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in_s: int
    interval_s: int


type Waiting = Literal["pending", "slow_down", "no_answer"]
"""What is known before a person has entered the code."""


@dataclass(slots=True)
class Pace:
    """How long to wait before each question."""

    interval_s: float

    def after(self, answer: Waiting) -> None:
        """What an answer changes: `slow_down` adds five seconds for good, no answer at all doubles (section 3.5)."""
        if answer == "slow_down":
            self.interval_s += SLOWER_S
        if answer == "no_answer":
            self.interval_s *= 2
        self.interval_s = min(self.interval_s, MAX_INTERVAL_S)


def start_device(kind: OAuthCredential, given: Ingredients, at: Places, login: Login = ANY_LOGIN) -> Minting[Device]:
    """Ask for a code (section 3.1). Raises `MintFailedError`."""
    if not at.device:
        raise failed("The provider has no endpoint for device codes.")
    fields: dict[str, JsonValue] = {"client_id": client_id(kind, given), **asked(kind, given), **login.fields}
    reply, _ = yield from ask(question(kind, given, at, at.device, fields), given)
    told = json_object(reply)
    if reply.status != OK:
        raise failed(SAID_NO.get(error_code(told) or "", "The provider gave no device code."))
    return _device(told)


def _device(told: dict[str, JsonValue]) -> Device:
    device_code, user_code = told.get("device_code"), told.get("user_code")
    # Google's first name for it is still in use.
    uri, complete = told.get("verification_uri", told.get("verification_url")), told.get("verification_uri_complete")
    if not isinstance(device_code, str) or len(device_code) > MAX_CODE_CHARACTERS or not TOKEN.fullmatch(device_code):
        raise failed("The provider gave no device code.")
    if not isinstance(user_code, str) or not USER_CODE.fullmatch(user_code):
        raise failed("The provider gave no code that can be shown.")
    if not isinstance(uri, str) or not is_endpoint(uri):
        raise failed("The provider gave no address for the code that can be shown.")
    if complete is not None and not (isinstance(complete, str) and is_endpoint(complete)):
        complete = None
    return Device(
        device_code,
        user_code,
        uri,
        complete,
        expires_in_s=_seconds(told.get("expires_in"), MAX_EXPIRY_S, MAX_EXPIRY_S),
        interval_s=_seconds(told.get("interval"), INTERVAL_S, MAX_INTERVAL_S),
    )


def _seconds(value: JsonValue, default: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return int(min(max(value, 1), most))


def poll(
    kind: OAuthCredential, given: Ingredients, at: Places, device: Device
) -> Minting[Credential | Literal["pending", "slow_down"]]:
    """Ask once (section 3.4).

    Raises:
        MintFailedError: it is over.
        CallFailedError: no answer; asking again, more slowly, may help.
    """
    asking = device_question(kind, given, at, device)
    reply, nonce = yield from ask(asking, given)
    try:
        token = read_reply(reply, given.now_s)
    except TokenRefusedError as error:
        return still_pending(error)
    credential = kind.connected(given, token, nonce)
    yield from introspected(kind, asking, token.access_token, given)
    return credential


def device_question(kind: OAuthCredential, given: Ingredients, at: Places, device: Device) -> Question:
    """What the token endpoint is asked, again and again."""
    more = {name: filled(value, given.variables) for name, value in kind.parameters.items()}
    fields: dict[str, JsonValue] = {**more, "grant_type": GRANT_TYPE, "device_code": device.device_code}
    return question(kind, given, at, at.token, fields)


def still_pending(error: TokenRefusedError) -> Literal["pending", "slow_down"]:
    """Whether to ask again, and how soon. Raises `MintFailedError` where it is over."""
    if error.code == "authorization_pending":
        return "pending"
    if error.code == "slow_down":
        return "slow_down"
    if error.code in ENDED:
        raise failed(ENDED[error.code]) from None
    raise refusal(error) from None
