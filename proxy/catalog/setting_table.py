"""Every key of the settings: how it is told that another value allows more, or why it has no say (I-05).

"More" is about who may do what, how much of it, and who says yes. A text says that, and why, a key has no say.
Keys are written as on docs/configuration.md; `tests/catalog/test_setting_table.py` holds the two against each other.
"""

from __future__ import annotations

from typing import Final

from proxy.catalog.setting_rules import (
    Claim,
    Entries,
    Fewer,
    Items,
    Larger,
    Names,
    Ordered,
    Present,
    Rule,
    Smaller,
    UnlessGone,
    UnlessNew,
    addresses,
    grants,
)

type Row = Rule | Entries | str

ANY: Final = Rule()
MORE: Final = Items()
SOME: Final = Items(or_none=True)
LARGER: Final = Larger()
SMALLER: Final = Smaller()
GRANTS: Final = Items(covers=grants)
FILE: Final = Present()
SWITCH: Final = Ordered((False, True))
ROLE: Final = Ordered(("viewer", "approver", "operator", "admin"))
REF: Final = "where a secret comes from"
IDENTIFIES: Final = "tells entries apart"
OURS: Final = "keeps the sidecar alive"
WHERE: Final = "an address of ours"
TIME: Final = "patience"
TELLS: Final = "tells people, asks none"


def _below(key: str, rows: dict[str, Row]) -> dict[str, Row]:
    return {f"{key}.{name}": row for name, row in rows.items()}


_UPSTREAM: Final[dict[str, Row]] = {
    "url": ANY, "username": REF, "password": REF, "no_proxy": ANY, "ca_bundle": FILE, "timeout_s": TIME,
}  # fmt: skip
_DIMENSIONS: Final = (
    "tenant", "agent", "group", "user", "account", "provider", "profile", "operation", "action", "task",
)  # fmt: skip
_MATCH: Final[dict[str, Row]] = dict.fromkeys(_DIMENSIONS, ANY)
_THRESHOLDS: Final[dict[str, Row]] = {"approval_at": LARGER, "strong_at": LARGER, "refuse_at": LARGER}
_ISSUED: Final[dict[str, Row]] = {
    "jwks_url": ANY, "jwks_file": FILE, "ca_file": FILE, "algorithms": SOME, "leeway_s": LARGER,
    "keys_max_age_s": LARGER, "keys_stale_s": LARGER,
}  # fmt: skip

ROWS: Final[dict[str, Row]] = {
    "version": "the form of the file",
    "mode": Ordered(("ga", "staging", "reference")),
    "listeners.proxy": WHERE,
    "listeners.control": WHERE,
    "listeners.dns": WHERE,
    "listeners.api": "wants a token",
    "listeners.admin": "operators.local says who",
    "listeners.more[]": Entries(new=True, by=("at",)),
    **_below(
        "listeners.more[]",
        {
            "at": IDENTIFIES, "kind": ANY, "agent": UnlessGone(), "uids": SOME, "proxy_protocol": ANY,
            "tls": Entries(new=True, gone=True), "tls.certificate": "who we are", "tls.key": REF,
            "tls.trust_bundles": Names(or_none=True),
        },
    ),
    "providers.NAME": Entries(new=True),
    "providers.NAME.accounts.NAME": Entries(new=True),
    **_below(
        "providers.NAME.accounts.NAME",
        {
            "secrets": Names(), "tenant": ANY, "variables": ANY, "keys": Names(), "credentials": ANY, "actions": MORE,
            "default": SWITCH, "headers": ANY, "query": ANY,
        },
    ),
    "providers.NAME.ca_bundle": FILE,
    "providers.NAME.upstream_proxy": Entries(new=True, gone=True),
    **_below("providers.NAME.upstream_proxy", _UPSTREAM),
    "tenants": SOME,
    "users.NAME": Entries(new=True),
    **_below("users.NAME", {"accounts": GRANTS, "tenant": ANY, "groups": ANY}),
    "agents.NAME": Entries(new=True),
    **_below(
        "agents.NAME",
        {
            "accounts": GRANTS, "tenant": ANY, "groups": ANY, "users": MORE, "spiffe": UnlessGone(),
            "hand_over": Entries(new=True), "hand_over.directory": ANY, "hand_over.proxy": WHERE,
        },
    ),
    "profiles": "profiles are compared themselves",
    "profiles_digest": "profiles are compared themselves",
    "unmatched": Ordered(("refuse", "pass")),
    "passthrough_hosts": MORE,
    "egress.allow_private": Items(covers=addresses),
    "egress.ca_bundle": FILE,
    "egress.connect_timeout_s": TIME,
    "egress.resolver": ANY,
    "egress.upstream_proxy": Entries(new=True, gone=True),
    **_below("egress.upstream_proxy", _UPSTREAM),
    "identity.tokens[]": Entries(new=True, by=("issuer", "audience")),
    **_below(
        "identity.tokens[]",
        {
            "issuer": IDENTIFIES, "audience": IDENTIFIES, "agent": Claim(), "user": Claim(), "bearer_file": REF,
            "max_age_s": LARGER, **_ISSUED,
        },
    ),
    "policies": "policies are compared themselves",
    **_below("risk", _THRESHOLDS),
    "risk.profiles.NAME": Entries(gone=True),
    **_below("risk.profiles.NAME", _THRESHOLDS),
    "risk.points": ANY,
    "risk.bodies": Ordered(("always", "held")),
    "risk.look_bytes": SMALLER,
    "risk.large_body_bytes": LARGER,
    "risk.working_hours": UnlessNew(),
    "risk.volume.at_least": LARGER,
    "risk.volume.times_peak": LARGER,
    "risk.classifier": Entries(gone=True),
    **_below(
        "risk.classifier",
        {
            "url": ANY, "token": REF, "ca_bundle": FILE, "send": Ordered(("body", "features")),
            "unavailable": Ordered(("highest", "approval")), "timeout_s": TIME, "failures": TIME, "rest_s": TIME,
        },
    ),
    **_below(
        "approvals",
        {
            "hold_s": TIME, "decide_within_s": LARGER, "use_within_s": LARGER, "approvers": SMALLER,
            "max_pending_per_agent": LARGER, "max_waiting": OURS, "refused_for_s": SMALLER,
            "keep_days": "what is remembered", "volatile_headers": MORE, "channels.webhooks": TELLS, "link": TELLS,
        },
    ),
    "approvals.channels.slack.NAME": Entries(new=True),
    **_below(
        "approvals.channels.slack.NAME",
        {
            "channel": ANY, "token": REF, "signing_secret": REF, "approvers": MORE, "address": ANY, "tenant": ANY,
            "allow_private": MORE, "ca_file": FILE,
        },
    ),
    "operators.local[]": Entries(new=True, none=True, by=("uid",)),
    **_below("operators.local[]", {"uid": IDENTIFIES, "name": ANY, "role": ROLE, "tenant": UnlessNew()}),
    "operators.oidc[]": Entries(new=True, by=("label",)),
    **_below(
        "operators.oidc[]",
        {
            "label": IDENTIFIES, "issuer": ANY, "client_id": ANY, "audience": ANY, "roles": ANY, "name": ANY,
            "user": Claim(nobody=True), "device": SWITCH,
            "scope": "what is asked for", "redirect": WHERE, "session_s": LARGER, "max_age_s": LARGER, **_ISSUED,
        },
    ),
    "operators.hosts": WHERE,
    "budgets[]": Entries(gone=True, by=("name",)),
    **_below(
        "budgets[]",
        {
            "name": IDENTIFIES, "unit": ANY, "limit": LARGER, "window": ANY, "zone": ANY, **_below("match", _MATCH),
            "each": ANY, "soft": Fewer(), "over": Ordered(("refuse", "approval")),
            "unmetered": Ordered(("refuse", "free")),
        },
    ),
    "rates[]": Entries(gone=True, by=("name",)),
    **_below(
        "rates[]",
        {
            "name": IDENTIFIES, "calls": LARGER, "per_s": SMALLER, "burst": LARGER, **_below("match", _MATCH),
            "each": ANY,
        },
    ),
    "prices": ANY,
    **_below("limits", {"max_body_bytes": LARGER, "max_message_bytes": LARGER, "max_socket_bytes": LARGER}),
    **_below(
        "limits",
        dict.fromkeys(
            (
                "max_connections", "max_connections_per_agent", "max_header_bytes", "max_headers", "max_uri_bytes",
                "header_timeout_s", "idle_timeout_s", "held_body_timeout_s", "max_upstreams_per_host", "drain_s",
            ),
            OURS,
        ),
    ),
    "certificates": "who we are",
    "secret_stores": REF,
    "keys": "where keys rest",
    "state": "where state rests",
    "confinement.report": "what was found, not what is wanted",
    "confinement.max_age_s": LARGER,
    "confinement.accept": MORE,
    "confinement.required": Ordered((True, False)),
    "logs": "what is written",
}  # fmt: skip
