"""`ExternalClassifier`: asks a service of the operator's how risky a call is. It only raises what we say (P12, I-12).

Whatever goes wrong is no answer, and no answer is what the settings say: an approval, or the highest score. After some
failures in a row it is left alone for a while; then one call tries whether it is back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from proxy.egress.dial import NAMED_BY_THE_OPERATOR
from proxy.egress.http import HttpFailedError, parse_https
from proxy.errors import BriefcaseError
from proxy.model import Strength
from proxy.risk.circumstances import Advice
from proxy.risk.features import BadAdviceError, advice, question
from proxy.risk.score import HIGHEST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.clock import Clock
    from proxy.egress.http import HttpClient
    from proxy.model import Agent
    from proxy.risk.look import Call
    from proxy.risk.score import Risk
    from proxy.risk_settings import Classifier
    from proxy.secret import Secret

_log: Final = logging.getLogger("proxy.risk")
MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_AT_ONCE: Final = 64
"""Questions under way; who comes on top gets no answer."""
OK: Final = 200


class ExternalClassifier:
    """One instance per process. Its settings come with each call, so that a reload changes them."""

    def __init__(
        self, http: HttpClient, *, read_secret: Callable[[str], Awaitable[Secret]], key: bytes, clock: Clock
    ) -> None:
        """`key` is for the hashes that stand for agents."""
        self._http: Final = http
        self._read_secret: Final = read_secret
        self._key: Final = key
        self._clock: Final = clock
        self._failures = 0
        self._rests_until_s = 0.0
        self._asking = 0

    async def advice(self, settings: Classifier, call: Call, risk: Risk, agent: Agent) -> Advice:
        """What it says, or what stands for its silence. Never raises."""
        if self._asking >= MAX_AT_ONCE or not self._may_ask(settings):
            return silence(settings)
        body = question(call, risk, agent, key=self._key, body=settings.send == "body")
        self._asking += 1
        try:
            async with asyncio.timeout(settings.timeout_s):
                said = await self._ask(settings, body)
        except (TimeoutError, BriefcaseError, BadAdviceError) as error:
            self._failed(settings, error)
            return silence(settings)
        finally:
            self._asking -= 1
        self._failures = 0
        return said

    async def _ask(self, settings: Classifier, body: bytes) -> Advice:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if settings.token is not None:
            secret = await self._read_secret(settings.token)
            headers["authorization"] = f"Bearer {secret.reveal().decode('latin-1')}"
        try:
            url = parse_https(settings.url)
        except ValueError:
            raise HttpFailedError("the classifier's URL is not an https URL") from None
        answer = await self._http.request(
            "POST",
            url,
            headers=headers,
            body=body,
            max_bytes=MAX_ANSWER_BYTES,
            trust=settings.ca_bundle,
            allow_private=NAMED_BY_THE_OPERATOR,
        )
        if answer.status != OK:
            raise HttpFailedError(f"the classifier answered with status {answer.status}")
        return advice(answer.body)

    def _may_ask(self, settings: Classifier) -> bool:
        """Whether it is not resting. After the rest one call tries it, and the others wait for what comes of that."""
        if self._failures < settings.failures:
            return True
        now_s = self._clock.monotonic_s()
        if now_s < self._rests_until_s:
            return False
        self._rests_until_s = now_s + settings.rest_s
        return True

    def _failed(self, settings: Classifier, error: Exception) -> None:
        self._failures += 1
        if self._failures == settings.failures:
            _log.warning("the risk classifier is left alone for %g s: %s", settings.rest_s, type(error).__name__)
        if self._failures >= settings.failures:
            self._rests_until_s = self._clock.monotonic_s() + settings.rest_s


def silence(settings: Classifier) -> Advice:
    """What a call gets that there is no answer for."""
    if settings.unavailable == "approval":
        return Advice(strength=Strength.APPROVAL, available=False)
    return Advice(score=HIGHEST, available=False)
