"""Transactions that a verifier wants authorized by a presentation (`transaction_data`). Pure.

Source: OpenID for Verifiable Presentations 1.0, sections 5.1 and 8.4, and appendix B.3.3 for SD-JWT VC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.credentials.vc.jose import BadTokenError, json_object
from proxy.credentials.vc.sdjwt import HASHES, digest_of
from proxy.keys.public import from_base64url

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TRANSACTIONS: Final = 16
USUAL_HASH: Final = "sha-256"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One that may be authorized.

    Attributes:
        text: as the verifier sent it; its hash is over exactly this.
        query_ids: the queries whose credential may authorize it.
        hashes: what it may be hashed with; None where the verifier does not say.
    """

    text: str = field(repr=False)
    query_ids: tuple[str, ...]
    hashes: tuple[str, ...] | None


def transactions_in(listed: object, types: Collection[str]) -> tuple[Transaction, ...]:
    """The transactions of a request; `listed` is None where it has none.

    Raises:
        BadTokenError: malformed, or of a type that is not one of `types`: none of them is authorized then.
    """
    if listed is None:
        return ()
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_TRANSACTIONS:
        raise BadTokenError("the transactions that the verifier wants authorized are malformed")
    return tuple(_transaction(text, types) for text in listed)


def _transaction(text: object, types: Collection[str]) -> Transaction:
    try:
        told = json_object(from_base64url(text)) if isinstance(text, str) else {}
    except ValueError:
        told = {}
    match told:
        case {"type": str(kind), "credential_ids": [str(), *_] as ids, **rest} if _texts(ids):
            if kind not in types:
                raise BadTokenError("the verifier wants a transaction of a type that the profile does not allow")
            hashes = rest.get("transaction_data_hashes_alg")
            if hashes is None or _texts(hashes):
                return Transaction(str(text), _texts(ids), _texts(hashes) or None)
    raise BadTokenError("the transactions that the verifier wants authorized are malformed")


def _texts(listed: object) -> tuple[str, ...]:
    """A list of texts; empty where it is none."""
    texts = tuple(text for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()
    return texts if isinstance(listed, list) and len(texts) == len(listed) else ()


def claims_for(transactions: tuple[Transaction, ...], chosen: Collection[str]) -> dict[str, Mapping[str, object]]:
    """What the key binding of each presentation says of transactions, by query id; each is authorized once.

    Raises:
        BadTokenError: one would be authorized by nothing that is presented, or by no hash that is supported.
    """
    by_query: dict[str, list[Transaction]] = {}
    for transaction in transactions:
        query_id = next((i for i in transaction.query_ids if i in chosen), None)
        if query_id is None:
            raise BadTokenError("the verifier wants a transaction authorized by a credential that is not presented")
        by_query.setdefault(query_id, []).append(transaction)
    return {query_id: _claims(together) for query_id, together in by_query.items()}


def _claims(together: list[Transaction]) -> Mapping[str, object]:
    """One hash serves all of them; it is named where the verifier has named some."""
    fitting = [n for n in HASHES if all(n in (t.hashes or (USUAL_HASH,)) for t in together)]
    if not fitting:
        raise BadTokenError("the verifier wants its transactions hashed in a way that is not supported")
    named = {"transaction_data_hashes_alg": fitting[0]} if any(t.hashes is not None for t in together) else {}
    return {"transaction_data_hashes": [digest_of(t.text, fitting[0]) for t in together], **named}
