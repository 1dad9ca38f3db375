"""A person with a browser, by HTTP: signs in at the rig's authorization server and says yes, or no."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    import httpx

    from tests.rig.authorization_server import AuthorizationServer

MAX_STEPS = 12
_FORM = re.compile(r"<form\b[^>]*\baction=\"([^\"]+)\".*?</form>", re.DOTALL)
_FIELD = re.compile(r"<input\b[^>]*\bname=\"([^\"]+)\"[^>]*\bvalue=\"([^\"]*)\"")


@dataclass
class Browser:
    """`account` is who signs in. Cookies last as long as the object's `client`."""

    server: AuthorizationServer
    client: httpx.AsyncClient
    account: str = "alice"

    async def authorize(self, url: str, *, refuse: bool = False) -> str:
        """The URL that the server sends the browser back to; it is not opened.

        Raises:
            LookupError: the server shows something else than its own pages; with the text of that page.
        """
        answer = await self.client.get(url)
        for _ in range(MAX_STEPS):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if not target.startswith(self.server.issuer + "/"):
                    return target
                answer = await self.client.get(target)
                continue
            answer = await self._answered(answer, refuse=refuse)
        raise LookupError("too many steps")

    async def approve(self, verification_uri: str, user_code: str, *, refuse: bool = False) -> str:
        """Enter a device's code and say yes; the text of the last page."""
        answer = await self.client.get(verification_uri)
        answer = await self._submit(answer, user_code=user_code)
        answer = await self._submit(answer, **({"abort": "yes"} if refuse else {}))
        for _ in range(MAX_STEPS):
            if answer.is_redirect:
                answer = await self.client.get(urljoin(str(answer.url), answer.headers["location"]))
            elif "/interaction/" in answer.text:
                answer = await self._answered(answer, refuse=False)
            else:
                return answer.text
        raise LookupError("too many steps")

    async def _answered(self, answer: httpx.Response, *, refuse: bool) -> httpx.Response:
        """Sign in, or consent, or go back."""
        if "/interaction/" not in answer.text:
            raise LookupError(answer.text)
        if refuse:
            found = re.search(r"href=\"([^\"]+/abort)\"", answer.text)
            assert found, answer.text
            return await self.client.get(unescape(found[1]))
        return await self._submit(answer, login=self.account, password="any")

    async def _submit(self, answer: httpx.Response, **fields: str) -> httpx.Response:
        form = _FORM.search(answer.text)
        if form is None:
            raise LookupError(answer.text)
        hidden = {name: unescape(value) for name, value in _FIELD.findall(form[0])}
        return await self.client.post(urljoin(str(answer.url), unescape(form[1])), data={**hidden, **fields})
