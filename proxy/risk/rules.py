"""The rules: one row each. A row's sentence holds nothing of the request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from proxy.risk.circumstances import HOUR_MS
from proxy.risk.credentials import high_entropy, jwt, known_secret, private_key
from proxy.risk.personal import card_number, email_list, iban, phone_list, ssn
from proxy.risk.tricks import base64_blob, double_encoding, hidden_characters, injection, look_alike_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.risk.look import Call


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that makes a call riskier.

    Attributes:
        points: 0 to 100; what it adds unless the settings say otherwise.
        text: for approvers.
        fixed: the settings cannot say otherwise, because it stands for what is not known.
    """

    code: str
    points: int
    text: str
    holds: Callable[[Call], bool]
    fixed: bool = False


def first_use(call: Call) -> bool:
    """The agent has not called the operation before."""
    return call.circumstances.first_use(call.use)


def new_destination(call: Call) -> bool:
    """The agent has not called the host before."""
    past = call.circumstances.past
    return past is None or call.head.authority.host not in past.hosts


def unusual_volume(call: Call) -> bool:
    """This hour has many more calls than any of the week before, this one included."""
    past = call.circumstances.past
    if past is None:
        return True
    usage, hour = past.uses.get(call.use), call.now_ms // HOUR_MS
    if usage is None:
        return False
    volume = call.settings.volume
    return usage.during(hour) + 1 > max(volume.at_least, volume.times_peak * usage.peak_before(hour))


def past_unknown(call: Call) -> bool:
    """What the agent has called before cannot be told."""
    return call.circumstances.past is None


def off_hours(call: Call) -> bool:
    """Outside the hours that the settings call usual."""
    hours = call.settings.working_hours
    if hours is None:
        return False
    local = datetime.fromtimestamp(call.now_ms / 1000, UTC) + timedelta(minutes=hours.utc_offset_minutes)
    return local.isoweekday() not in hours.days or not hours.from_hour <= local.hour < hours.until_hour


def large_body(call: Call) -> bool:
    """The body is large, as far as is known."""
    size = len(call.body) if call.body is not None else call.head.content_length or 0
    return size > call.settings.large_body_bytes


def body_unseen(call: Call) -> bool:
    """Every body is to be looked at, and this one was not, or not whole."""
    return call.settings.holds_bodies and call.body_unseen


RULES: Final = (
    Rule("private_key", 80, "The call carries a private key.", private_key),
    Rule("known_secret", 60, "The call carries what looks like a real secret of a known vendor.", known_secret),
    Rule("jwt", 40, "The call carries a signed token (JWT).", jwt),
    Rule("high_entropy", 15, "The call carries a long random word, as keys are.", high_entropy),
    Rule("card_number", 50, "The call carries a payment card number.", card_number),
    Rule("iban", 40, "The call carries a bank account number (IBAN).", iban),
    Rule("ssn", 40, "The call carries a number like a US social security number.", ssn),
    Rule("email_list", 30, "The call carries a list of e-mail addresses.", email_list),
    Rule("phone_list", 30, "The call carries a list of telephone numbers.", phone_list),
    Rule("double_encoding", 30, "The call is percent-encoded twice.", double_encoding),
    Rule("base64_blob", 15, "The call carries a long run of base64, which was not looked into.", base64_blob),
    Rule("hidden_characters", 30, "The call carries characters that nobody sees.", hidden_characters),
    Rule("look_alike_letters", 30, "The call mixes letters of several scripts that look the same.", look_alike_letters),
    Rule("injection", 40, "The call carries a phrase by which texts try to take a model over.", injection),
    Rule("large_body", 15, "The body is large.", large_body),
    Rule("first_use", 15, "This agent has not called this operation before.", first_use),
    Rule("new_destination", 20, "This agent has not called this host before.", new_destination),
    Rule("unusual_volume", 30, "This agent calls this operation far more often than it usually does.", unusual_volume),
    Rule("off_hours", 20, "The call comes outside working hours.", off_hours),
    Rule("past_unknown", 100, "What this agent has called before cannot be read now.", past_unknown, fixed=True),
    Rule("body_unseen", 100, "The body could not be looked at whole.", body_unseen, fixed=True),
)
