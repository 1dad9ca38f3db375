"""What every credential kind is made of: the YAML's base class, what it mints from, what it presents. Pure.

A kind has three behaviours, none of which does any I/O:

    mint      a generator: yields the HTTP calls and signatures that it wants made, returns a `Credential`
    prove     a generator: yields signatures, returns the request as it leaves; kinds that sign nothing have `present`
    learn     a pure function: what an answer of the provider teaches (a nonce, a token that has ended)

`proxy/credentials/broker.py` runs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from proxy.documents import Strict
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from proxy.exchange import BodyFilter
    from proxy.keys.public import PublicKey
    from proxy.model import AccountId, RequestHead, ResponseHead
    from proxy.secret import Secret

SecretName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_-]*)\}")
MAX_REPLY_BYTES: Final = 256 * 1024
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call that a kind wants made, over verified TLS, to an address that may be reached; no redirects.

    Attributes:
        url: https, without fragment and user information.
        body: whole; its Content-Length is added.
        certificate: the key, by slot name, whose client certificate is presented (RFC 8705); None for none.
        max_reply_bytes: a longer answer is a failure.
        uses_up: what the provider may take as used once it has got this call (a refresh token that it rotates);
            written down before the call is made, only where the kind is `durable`.
        keeps: whether a reply is worth keeping: the call may then be answered with one that is kept
            (`documents.py`); None always asks. Only for a GET of what is public.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    certificate: str | None = None
    max_reply_bytes: int = MAX_REPLY_BYTES
    uses_up: Mapping[str, str] = field(default_factory=dict, repr=False)
    keeps: Callable[[Reply], bool] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to a `Call`; names of headers are lower-case, the last of a name counts.

    A call that could not be made has no reply: the generator gets a `CallFailedError` raised at its `yield`.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class CallFailedError(Exception):
    """A call got no answer: no connection, no trust, no HTTP, too long or too late. The text is ours."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A signature that a kind wants made with the account's key `key` (a slot name) over `message`."""

    key: str
    message: bytes = field(repr=False)


type Step = Call | Sign
type Minting[T] = Generator[Step, Reply | bytes, T]
"""A generator that is sent a `Reply` for a `Call`, and for a `Sign` the raw signature (JOSE form, RFC 7518)."""
type Proving[T] = Generator[Sign, bytes, T]


def call(wanted: Call) -> Minting[Reply]:
    """Have one call made: `yield from` it in `mint`."""
    reply = yield wanted
    assert isinstance(reply, Reply)
    return reply


def signature(wanted: Sign) -> Generator[Sign, Reply | bytes, bytes]:
    """Have one signature made; in `mint` and in `prove`."""
    made = yield wanted
    assert isinstance(made, bytes)
    return made


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a kind mints from.

    Attributes:
        secrets: the values of the secrets that the kind names, and of the optional ones that the account has.
        variables: the account's plain values, with the profile's defaults.
        keys: public halves of the keys that the kind names.
        kept: what the last mint kept (`Credential.keep`), by whichever process; empty where there was none.
        interrupted: `Call.uses_up` of a mint that did not end, because its process died; None where the last one ended.
        now_s: wall clock, seconds since the epoch.
        agent: for whom this is minted; only kinds with `per_agent` may use it.
        unconfirmed: a person has said yes to one use of a credential that is in doubt (`Denial.in_doubt`).
    """

    account: AccountId
    secrets: Mapping[str, Secret] = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    interrupted: Mapping[str, str] | None = field(default=None, repr=False)
    now_s: int = 0
    agent: str = ""
    unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request is presented with.

    Attributes:
        secrets: everything that must never be seen, by name; answers are searched for all of it.
        facts: the rest that `present` works from: token type, thumbprints, regions. Never secret.
        expires_at_s: wall clock; from then on it is not presented. None: as long as its secrets are the same.
        refresh_at_s: from then on a new one is minted while this one still serves; None: at its expiry.
        max_uses: how often it may be presented; None is without limit.
        token: name of the secret that names the credential in receipts, by a keyed hash of it.
        keep: what must be stored, sealed, before this credential is used; None keeps what is stored as it is.
        keys: public halves of the keys it is proved with.
    """

    secrets: Mapping[str, Secret] = field(repr=False)
    facts: Mapping[str, str] = field(default_factory=dict)
    expires_at_s: int | None = None
    refresh_at_s: int | None = None
    max_uses: int | None = None
    token: str | None = None
    keep: Mapping[str, str] | None = field(default=None, repr=False)
    keys: Mapping[str, PublicKey] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The secret's value, fit for a header.

        Raises:
            Refused: `credential_unavailable`; the value has control characters or spaces at its ends.
        """
        return fit_for_header(self.secrets[name].reveal().decode("latin-1"))

    def filled(self, template: str) -> str:
        """`template` with every `{name}` replaced by that secret, in a single pass."""
        return PLACEHOLDER.sub(lambda found: self.text(found[1]), template)


@dataclass(frozen=True, slots=True)
class Presented:
    """The request as it leaves.

    Attributes:
        secrets: made for it alone, and never to be seen either.
        filter: rewrites a body that streams; None leaves it as it is.
    """

    head: RequestHead
    body: bytes | None
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    filter: BodyFilter | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When, and after what, a request is proved.

    Attributes:
        now_s: wall clock, seconds since the epoch.
        learnt: what earlier answers of this origin to this account taught (`Lesson.facts`).
        attempt: 0, then 1 and more for what a challenge asked for again.
        serial: larger than that of every moment before in this process; about the wall clock in milliseconds.
        count: how often a request was proved with what was learnt, this one included; 0 where nothing was learnt.
    """

    now_s: float
    learnt: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    serial: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an answer taught.

    Attributes:
        facts: to be remembered for the account at this origin, in place of what stood under the same names.
        again: whether the request should be sent once more: `prove` with the same credential, `mint` with a new one.
        notice: for the operator's log; text of ours, never of the answer.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    again: Literal["no", "prove", "mint"] = "no"
    notice: str = ""


NOTHING_LEARNT: Final = Lesson()


class MintFailedError(Exception):
    """Minting ended without a credential.

    Attributes:
        denial: what the agent gets.
        retry_after_s: how long the broker does not try again; None for its own choice.
        forget: what was kept is useless from now on (a refresh token that the provider has revoked).
        nothing_done: the provider said clearly that it did nothing; else it may have used up what it was asked with.
        keep: what must be stored, as `Credential.keep`, although there is no credential (a refresh token that came
            with an access token that must not be used); None keeps what is stored as it is.
    """

    def __init__(
        self,
        denial: Denial,
        *,
        retry_after_s: int | None = None,
        forget: bool = False,
        nothing_done: bool = False,
        keep: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(denial.slug)
        self.denial = denial
        self.retry_after_s = retry_after_s
        self.forget = forget
        self.nothing_done = nothing_done
        self.keep = keep


class Kind(Strict):
    """A credential kind: its fields are the YAML, its methods the behaviour. See the module."""

    needs_body: ClassVar[bool] = False
    opt_in: ClassVar[bool] = False
    """Used only where an operation names it."""
    mints: ClassVar[bool] = False
    """Has a `mint` of its own, whose credential is worth keeping until it expires."""
    durable: ClassVar[bool] = False
    """What `Credential.keep` says is stored, shared between processes, and only one of them mints at a time."""
    per_agent: ClassVar[bool] = False
    """A credential is for one agent; otherwise for the account."""
    retries: ClassVar[int] = 0
    """How often a challenge may cause the request to be sent again; its body, if small, is then held in memory."""
    in_doubt: ClassVar[bool] = False
    """Whether it may be that a person has to be asked about it: then the body is held, for the person to see."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Headers of the agent's, in which credentials stand, that it is shown; it takes them off itself."""
    bound_to_request: ClassVar[bool] = False
    """What leaves is good for one request at one host: it may be sent to hosts below a public suffix."""

    def secret_names(self) -> frozenset[str]:
        """The secrets it cannot do without, by slot name."""
        return frozenset()

    def optional_secret_names(self) -> frozenset[str]:
        """The secrets it uses where the account has them."""
        return frozenset()

    def stand_in_names(self) -> frozenset[str]:
        """The secrets for which an agent holds a stand-in although the account may not have them."""
        return frozenset()

    def lacks(self) -> str | None:
        """What this installation lacks for it, for whoever wrote the configuration; None for nothing."""
        return None

    def wants_body(self, head: RequestHead) -> bool:
        """Whether the body of this request must be there before it is presented."""
        return self.needs_body and head.has_body

    def variable_names(self) -> frozenset[str]:
        """The account's variables it cannot do without."""
        return frozenset()

    def key_names(self) -> Mapping[str, str]:
        """The keys it signs with: slot name to the JOSE algorithm for a key that has to be made (`ES256`)."""
        return {}

    def foreign_keys(self) -> frozenset[str]:
        """Those of its keys that the provider knows already: the account has to name them, none is made."""
        return frozenset()

    def withheld_headers(self) -> frozenset[str]:
        """Headers of answers (lower-case) that are for us and not for the agent."""
        return frozenset()

    def certificate_slot(self) -> str | None:
        """The key, by slot name, whose certificate the connection to the provider presents; None for none."""
        return None

    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """The https URLs, besides the profile's hosts, that its secrets may be sent to: the origins it is bound to."""
        del variables
        return ()

    def issued_by(self, variables: Mapping[str, str]) -> str:
        """Who issues what it keeps, for the state of a login that was captured; empty where it does not matter."""
        del variables
        return ""

    def mint(self, given: Ingredients) -> Minting[Credential]:
        """A credential. Yields what has to be done for it.

        Raises:
            MintFailedError: there is none.
        """
        yield from ()
        return Credential(given.secrets, facts=given.variables, keys=given.keys)

    def restore(self, given: Ingredients) -> Credential | None:
        """The credential that another process has minted and kept, where one still serves; only `durable` kinds."""
        del given
        return None

    def kept_secrets(self, kept: Mapping[str, str]) -> Mapping[str, Secret]:
        """Everything in what was kept that must never be seen."""
        del kept
        return {}

    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        """`head` and `body` with the credential in its place, and nowhere else.

        Raises:
            Refused: the credential cannot be put there.
        """
        del credential
        return Presented(head, body)

    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        """As `present`, for kinds that need the time, what was learnt, or a signature.

        Raises:
            Refused: the credential cannot be put there.
        """
        del moment
        yield from ()
        return self.present(credential, head, body)

    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        """What the answer `response` to the presented `head` teaches. Called for every answer, also good ones."""
        del credential, head, response, moment
        return NOTHING_LEARNT


def named_in(*templates: str) -> frozenset[str]:
    """The secrets or variables that templates name."""
    return frozenset(name for template in templates for name in PLACEHOLDER.findall(template))


def filled(template: str, variables: Mapping[str, str]) -> str:
    """`template` with every `{name}` replaced by that variable, in a single pass. Raises KeyError."""
    return PLACEHOLDER.sub(lambda found: variables[found[1]], template)


def fit_for_header(value: str) -> str:
    """`value` itself. Raises `Refused`: it has control characters, spaces at its ends, or nothing."""
    if not _HEADER_SAFE.fullmatch(value):
        raise Refused(unusable("The credential has characters that cannot be sent."))
    return value


def as_utf8(text: str) -> str:
    """What `Credential.text` gives byte by byte, read as UTF-8: for JSON. Raises `Refused`."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Refused(unusable("The credential is not UTF-8, as JSON has to be.")) from None


def unusable(detail: str) -> Denial:
    """The refusal for a credential that cannot be used."""
    return Denial("credential_unavailable", detail, by="credentials")
