"""The tables, as queries name them and as a new database gets them.

A database that is older is brought up to them by the migrations; a test holds the two against each other.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()

chains: Final = Table(
    "chains",
    metadata,
    Column("chain", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger, nullable=True),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", Text, nullable=False),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("chain", Text, ForeignKey("chains.chain"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("of", Text, nullable=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    PrimaryKeyConstraint("chain", "seq"),
    # P4 at the lowest level: a second outcome of the same decision cannot be written.
    Index(
        "one_outcome_per_decision",
        "of",
        unique=True,
        sqlite_where=text("kind = 'outcome'"),  # a shared PostgreSQL database holds no receipts
    ),
)

# The head moves in the same statement that inserts receipts, so that a batch is one implicit transaction.
HEAD_FOLLOWS: Final = """
CREATE TRIGGER head_follows AFTER INSERT ON receipts BEGIN
    UPDATE chains SET head_seq = NEW.seq, head_hash = NEW.hash WHERE chain = NEW.chain;
END
"""

agents: Final = Table(
    "agents",
    metadata,
    Column("name", Text, primary_key=True),
    Column("accounts", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
    Column("tenant", Text, nullable=True),
    Column("groups", Text, nullable=False, server_default="[]"),
    Column("users", Text, nullable=False, server_default="[]"),
    Column("life", Integer, nullable=False, server_default="0"),
)

agent_tokens: Final = Table(
    "agent_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("agent", Text, ForeignKey("agents.name"), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=True),
    Column("revoked_at_ms", BigInteger, nullable=True),
)

grants: Final = Table(
    "grants",
    metadata,
    Column("account", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    Column("lease_holder", Text, nullable=True),
    Column("lease_until_ms", BigInteger, nullable=True),
    Column("journal", LargeBinary, nullable=True),
    Column("broken", Text, nullable=True),
    Column("changed_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "credential", "agent"),
)

account_keys: Final = Table(
    "account_keys",
    metadata,
    Column("account", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "slot"),
)

bindings: Final = Table(
    "bindings",
    metadata,
    Column("account", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, index=True),
    Column("origin", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "fingerprint", "origin"),
)

captured: Final = Table(
    "captured",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("receipt", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("removed_at_ms", BigInteger, nullable=True),
)

approvals: Final = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user", Text, nullable=True),
    Column("account", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("strength", Integer, nullable=False),
    Column("needs", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("until_boot", Text, nullable=False),
    Column("until_s", Float, nullable=False),
    Column("receipt", Text, nullable=True),
    Column("card", LargeBinary, nullable=False),
    Index("approvals_of_an_agent", "agent", "state"),
    Index("approvals_by_fingerprint", "fingerprint"),
    Index("approvals_by_age", "created_at_ms"),
)

approval_votes: Final = Table(
    "approval_votes",
    metadata,
    Column("approval", Text, ForeignKey("approvals.id"), nullable=False),
    Column("approver", Text, nullable=False),
    Column("yes", Boolean, nullable=False),
    Column("factor", Text, nullable=True),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("approval", "approver"),
)

approval_grants: Final = Table(
    "approval_grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("user", Text, nullable=True),
    Column("account", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("profile_version", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("max_cost_microusd", BigInteger, nullable=False),
    Column("max_uses", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("until_boot", Text, nullable=False),
    Column("until_s", Float, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
    Column("revoked_by", Text, nullable=True),
    Column("approval", Text, nullable=True),
    Column("reason", Text, nullable=False),
    Column("life", Integer, nullable=False, server_default="0"),
    Index("approval_grants_of_an_agent", "tenant", "agent"),
)

approval_grant_votes: Final = Table(
    "approval_grant_votes",
    metadata,
    Column("grant", Text, ForeignKey("approval_grants.id"), nullable=False),
    Column("approver", Text, nullable=False),
    Column("factor", Text, nullable=True),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("grant", "approver"),
)

approver_keys: Final = Table(
    "approver_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("approver", Text, nullable=False, index=True),
    Column("jwk", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
    Column("tenant", Text, nullable=True),
    Column("confirmed_at_ms", BigInteger, nullable=True),
    Column("confirmed_by", Text, nullable=True),
)

# What may arrive once only: nonces of signed votes, signatures of callbacks.
approval_nonces: Final = Table(
    "approval_nonces",
    metadata,
    Column("nonce", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

approval_messages: Final = Table(
    "approval_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("approval", Text, ForeignKey("approvals.id"), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("due_at_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("ended_at_ms", BigInteger, nullable=True),
    Column("delivered", Boolean, nullable=False),
    Column("note", Text, nullable=True),
    Index("approval_messages_by_time", "due_at_ms"),
)

budget_counters: Final = Table(
    "budget_counters",
    metadata,
    Column("key", Text, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "bucket"),
)

budget_holds: Final = Table(
    "budget_holds",
    metadata,
    Column("hold", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("unit", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("hold", "key"),
    Index("holds_by_time", "until_ms"),
)

budget_rates: Final = Table(
    "budget_rates",
    metadata,
    Column("key", Text, primary_key=True),
    Column("next_us", BigInteger, nullable=False),
)

risk_uses: Final = Table(
    "risk_uses",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "agent", "profile", "operation", "host", "hour"),
    Index("risk_uses_by_age", "hour"),
)

operators: Final = Table(
    "operators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("tenant", Text, nullable=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
)

operator_tokens: Final = Table(
    "operator_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("operator", Text, ForeignKey("operators.name"), nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
)

operator_people: Final = Table(
    "operator_people",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer", "subject", "label"),
)

operator_sessions: Final = Table(
    "operator_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("proved", Text, nullable=False),
    Column("ceiling", Text, nullable=True),
    Column("user", Text, nullable=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=True),
)

locks: Final = Table(
    "locks",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "name"),
)

policy_versions: Final = Table(
    "policy_versions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("sources", Text, nullable=False),
    Column("files_digest", Text, nullable=False),
    Column("restores", Integer, nullable=True),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("receipt", Text, nullable=True),
    Column("frame", Text, nullable=True),
    Column("authors", Text, nullable=False, server_default="[]"),
    Column("waits", Text, nullable=True),
    Column("confirmed_by", Text, nullable=True),
    Column("serial", BigInteger, nullable=True),
)
