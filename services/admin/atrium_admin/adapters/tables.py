"""Tables of the admin service. Everything of a tenant is keyed by the tenant first."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from atrium_shared.database import UtcDateTime

metadata = MetaData()

INSTALLATION_ID = 1
"""The one row of ``installation``, put there by the first migration."""

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("first_tenant", String(64), nullable=False),
    Column("built_in_roles", String(64), nullable=False),
    Column("change_version", BigInteger, nullable=False),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("max_upload_bytes", BigInteger, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("policy_version", BigInteger, nullable=False),
    Column("residency", String(16), nullable=False),
    # A list of [unit, window, limit].
    Column("quotas", JSON, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("email", String(320), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("user_name", String(256), nullable=False),
    # The same texts in the form in which they are compared.
    Column("user_name_key", String(1024), nullable=False),
    Column("display_name_key", String(1024), nullable=False),
    Column("email_key", String(1024), nullable=False),
    Column("external_id", String(256), nullable=False),
    # Uniqueness is seen to under the tenant's lock: installations from before these columns may
    # hold ids that differ in case alone.
    Index("users_by_user_name", "tenant_id", "user_name_key"),
    Index("users_by_external_id", "tenant_id", "external_id"),
    Index("users_by_email", "tenant_id", "email_key"),
)

groups = Table(
    "groups",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("external_id", String(256), nullable=False),
    # The display name in the form in which it is compared.
    Column("display_name_key", String(1024), nullable=False),
    Index("groups_by_external_id", "tenant_id", "external_id"),
    Index("groups_by_display_name", "tenant_id", "display_name_key"),
)

roles = Table(
    "roles",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("built_in", Boolean, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)


def _of(table: str, column: str, *, cascade: bool) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{table}.tenant_id", f"{table}.id"],
        ondelete="CASCADE" if cascade else None,
    )


role_grants = Table(
    "role_grants",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("role_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("resource", String(256), nullable=False),
    Column("action", String(32), nullable=False),
    Column("effect", String(8), nullable=False),
    _of("roles", "role_id", cascade=True),
    # Whether an administrator is left asks for a handful of resources.
    Index("role_grants_by_resource", "tenant_id", "resource"),
)

role_parents = Table(
    "role_parents",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("role_id", String(128), primary_key=True),
    Column("parent_id", String(128), primary_key=True),
    _of("roles", "role_id", cascade=True),
    _of("roles", "parent_id", cascade=False),
    Index("role_parents_by_parent", "tenant_id", "parent_id"),
)

user_roles = Table(
    "user_roles",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("role_id", String(128), primary_key=True),
    _of("users", "user_id", cascade=True),
    _of("roles", "role_id", cascade=False),
    Index("user_roles_by_role", "tenant_id", "role_id"),
)

group_members = Table(
    "group_members",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("group_id", String(128), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    _of("groups", "group_id", cascade=True),
    _of("users", "user_id", cascade=True),
    Index("group_members_by_user", "tenant_id", "user_id"),
)

group_roles = Table(
    "group_roles",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("group_id", String(128), primary_key=True),
    Column("role_id", String(128), primary_key=True),
    _of("groups", "group_id", cascade=True),
    _of("roles", "role_id", cascade=False),
    Index("group_roles_by_role", "tenant_id", "role_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant_id", String(64), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("display_name", String(200), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("prefix", String(80), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("expire_time", UtcDateTime, nullable=True),
    Column("revoke_time", UtcDateTime, nullable=True),
    Column("last_use_time", UtcDateTime, nullable=True),
    _of("users", "user_id", cascade=True),
    Index("api_keys_by_time", "tenant_id", "create_time", "id"),
    Index("api_keys_by_user", "tenant_id", "user_id"),
)

policy_changes = Table(
    "policy_changes",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("policy_version", BigInteger, nullable=False),
    # Null: more than are worth naming.
    Column("users", JSON(none_as_null=True), nullable=True),
    Column("roles", JSON, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Index("policy_changes_by_tenant", "tenant_id", "policy_version"),
)

policy_versions = Table(
    "policy_versions",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcDateTime, nullable=False),
    Index("policy_versions_by_time", "tenant_id", "time"),
)


def _from_until() -> tuple[Column[int], Column[int]]:
    """The first policy version that a row is part of, and the first that it is no part of."""
    return (
        Column("from_version", BigInteger, primary_key=True, autoincrement=False),
        # Null: it is part of the newest.
        Column("until_version", BigInteger, nullable=True),
    )


# What follows names users, groups and roles that may be gone, so nothing refers to those tables.

past_users = Table(
    "past_users",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("disabled", Boolean, nullable=False),
    *_from_until(),
)

past_links = Table(
    "past_links",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("holder", String(128), primary_key=True),
    Column("held", String(128), primary_key=True),
    *_from_until(),
    Index("past_links_by_held", "tenant_id", "kind", "held"),
)

past_grants = Table(
    "past_grants",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("role_id", String(128), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("resource", String(256), nullable=False),
    Column("action", String(32), nullable=False),
    Column("effect", String(8), nullable=False),
    *_from_until(),
)

policy_replicas = Table(
    "policy_replicas",
    metadata,
    Column("replica", String(128), primary_key=True),
    Column("acknowledged", BigInteger, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    # True: somebody relied on the lease having run out, so it cannot be renewed.
    Column("ended", Boolean, nullable=False),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    # When to sign next; what was signed is in ``audit_checkpoints``.
    Column("checkpoint_sequence", BigInteger, nullable=False, server_default="0"),
    Column("checkpoint_time", UtcDateTime, nullable=True),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("statement", String(1024), nullable=False),
)

audit_lines = Table(
    "audit_lines",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time", UtcDateTime, nullable=False),
    Column("actor", String(134), nullable=False),
    Column("on_behalf_of", String(134), nullable=False),
    Column("action", String(128), nullable=False),
    Column("resource", String(512), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("detail", String(256), nullable=False),
    Column("policy_version", BigInteger, nullable=False),
    Column("model", String(200), nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Index("audit_lines_by_time", "tenant_id", "time"),
    Index("audit_lines_by_actor", "tenant_id", "actor", "sequence"),
    Index("audit_lines_by_on_behalf_of", "tenant_id", "on_behalf_of", "sequence"),
    Index("audit_lines_by_action", "tenant_id", "action", "sequence"),
    Index("audit_lines_by_decision", "tenant_id", "decision", "sequence"),
    Index("audit_lines_by_detail", "tenant_id", "detail", "sequence"),
    Index("audit_lines_by_policy_version", "tenant_id", "policy_version", "sequence"),
    Index(
        "audit_lines_by_resource",
        "tenant_id",
        "resource",
        postgresql_ops={"resource": "varchar_pattern_ops"},
    ),
)

audit_pseudonyms = Table(
    "audit_pseudonyms",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    # Of users who are gone, too.
    Column("user_id", String(128), primary_key=True),
    Column("pseudonym", String(32), nullable=False),
    Column("salt", LargeBinary(32), nullable=False),
    Index("audit_pseudonyms_by_pseudonym", "tenant_id", "pseudonym", unique=True),
)

erased_users = Table(
    "erased_users",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Index("erased_users_by_user", "tenant_id", "user_id"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

checkpoint_keys = Table(
    "checkpoint_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

identity_providers = Table(
    "identity_providers",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("issuer", String(512), nullable=False),
    Column("audiences", JSON, nullable=False),
    Column("jwks_uri", String(512), nullable=False),
    Column("algorithms", JSON, nullable=False),
    Column("user_claim", String(64), nullable=False),
    Column("user_match", String(16), nullable=False),
    Column("email_claim", String(64), nullable=False),
    Column("name_claim", String(64), nullable=False),
    Column("groups_claim", String(64), nullable=False),
    Column("provision_users", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    # A token's issuer names the tenant, so it serves one.
    Index("identity_providers_by_issuer", "issuer", unique=True),
)

identity_provider_groups = Table(
    "identity_provider_groups",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("provider_id", String(32), primary_key=True),
    Column("claim_value", String(256), primary_key=True),
    Column("group_id", String(128), nullable=False),
    _of("identity_providers", "provider_id", cascade=True),
    _of("groups", "group_id", cascade=True),
)

identity_provider_tokens = Table(
    "identity_provider_tokens",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("provider_id", String(32), primary_key=True),
    Column("user_id", String(128), primary_key=True),
    Column("issued_at", UtcDateTime, nullable=False),
    _of("identity_providers", "provider_id", cascade=True),
    _of("users", "user_id", cascade=True),
)
