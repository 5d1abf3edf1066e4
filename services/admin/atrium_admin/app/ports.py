"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from atrium_admin.domain.administration import Administration
from atrium_admin.domain.api_keys import ApiKey
from atrium_admin.domain.audit import AuditEvent, AuditHead, AuditLine, Decision
from atrium_admin.domain.directory_filters import Condition, Order
from atrium_admin.domain.identity_providers import IdentityProvider
from atrium_admin.domain.identity_tokens import Header
from atrium_admin.domain.past_policy import PastPolicy, PolicyVersion
from atrium_admin.domain.pseudonyms import Pseudonym
from atrium_admin.domain.roles import Role
from atrium_admin.domain.tenants import Tenant
from atrium_admin.domain.users import Group, Memberships, User
from atrium_shared.principal import Grant, RuleBlock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Part of a list.

    Attributes:
        items: The part.
        more: Whether anything comes after it.
    """

    items: list[T]
    more: bool


class Tenants(Protocol):
    """Tenants, and the one record about the installation as a whole."""

    async def get(self, tenant: str) -> Tenant | None:
        """Return a tenant."""
        ...

    async def list_after(self, tenant: str, limit: int) -> Slice[Tenant]:
        """Return up to ``limit`` tenants with greater ids, in their order."""
        ...

    async def add(self, tenant: Tenant) -> None:
        """Store a new tenant, with an empty audit log."""
        ...

    async def replace(self, tenant: Tenant) -> None:
        """Store a tenant's names, limits and residency in place of what they were."""
        ...

    async def lock(self, tenant: str) -> None:
        """Let no other transaction change this tenant until this one ends."""
        ...

    async def bump_policy(self, tenant: str) -> int:
        """Raise the tenant's policy version by one and return it."""
        ...

    async def lock_installation(self) -> str:
        """Let no other transaction bootstrap. Returns the first tenant's id, or ""."""
        ...

    async def set_first(self, tenant: str) -> None:
        """Remember the first tenant."""
        ...

    async def built_in_roles(self) -> str:
        """Return the digest of the built-in roles that the tenants have now."""
        ...

    async def set_built_in_roles(self, digest: str) -> None:
        """Remember the digest of the built-in roles."""
        ...


class Users(Protocol):
    """Users of all tenants."""

    async def get(self, tenant: str, user: str) -> User | None:
        """Return a user."""
        ...

    async def list_after(self, tenant: str, user: str, limit: int) -> Slice[User]:
        """Return up to ``limit`` users with greater ids, in their order."""
        ...

    async def unknown(self, tenant: str, users: Sequence[str]) -> str | None:
        """Return one of the ids that is no user, or None when all are."""
        ...

    async def by_user_name(self, tenant: str, user_name: str) -> User | None:
        """Return the user of this ``user_name``; upper and lower case are alike."""
        ...

    async def find(
        self, tenant: str, condition: Condition, order: Order, offset: int, limit: int
    ) -> tuple[int, list[User]]:
        """Count the users of whom a condition holds, and return part of them in an order.

        Args:
            tenant: Whose users.
            condition: On ``id``, ``user_name``, ``display_name``, ``email``, ``external_id``,
                ``disabled`` and ``create_time``; of user names, display names and mail addresses
                upper and lower case are alike.
            order: By one of them.
            offset: How many to leave out at the start.
            limit: Most to return.
        """
        ...

    async def by_external_id(self, tenant: str, external_id: str) -> User | None:
        """Return the user of this id in the outside directory."""
        ...

    async def is_disabled(self, tenant: str, user: str) -> bool | None:
        """Say whether a user is disabled; None when there is none."""
        ...

    async def add(self, tenant: str, user: User) -> None:
        """Store a new user."""
        ...

    async def replace(self, tenant: str, user: User) -> None:
        """Store a changed user."""
        ...

    async def remove(self, tenant: str, user: str) -> None:
        """Remove a user with their keys and memberships."""
        ...

    async def memberships(self, tenant: str, user: str) -> Memberships | None:
        """Return a user's direct roles and groups; None when there is no such user."""
        ...


class Groups(Protocol):
    """Groups of all tenants."""

    async def get(self, tenant: str, group: str) -> Group | None:
        """Return a group."""
        ...

    async def list_after(
        self, tenant: str, group: str, limit: int, *, max_members: int
    ) -> Slice[Group]:
        """Return groups with greater ids, in their order.

        Stops after ``limit`` groups, and before the group with which their members would exceed
        ``max_members``; but the first is always there.
        """
        ...

    async def add(self, tenant: str, group: Group) -> None:
        """Store a new group."""
        ...

    async def replace(self, tenant: str, group: Group) -> None:
        """Store a changed group."""
        ...

    async def remove(self, tenant: str, group: str) -> None:
        """Remove a group."""
        ...

    async def find(
        self,
        tenant: str,
        condition: Condition,
        order: Order,
        offset: int,
        limit: int,
        *,
        members: bool = True,
    ) -> tuple[int, list[Group]]:
        """Count the groups of whom a condition holds, and return part of them in an order.

        Args:
            tenant: Whose groups.
            condition: On ``id``, ``display_name``, ``external_id``, ``create_time`` and on
                members; of display names upper and lower case are alike.
            order: By one of them, members apart.
            offset: How many to leave out at the start.
            limit: Most to return.
            members: Whether to return their members too; there may be very many.
        """
        ...

    async def add_member(self, tenant: str, group: str, user: str) -> None:
        """Put a user into a group that they are not in."""
        ...

    async def remove_member(self, tenant: str, group: str, user: str) -> None:
        """Take a user out of a group."""
        ...


class IdentityProviders(Protocol):
    """Identity providers of all tenants."""

    async def get(self, tenant: str, provider: str) -> IdentityProvider | None:
        """Return an identity provider."""
        ...

    async def by_issuer(self, issuer: str) -> IdentityProvider | None:
        """Return the identity provider of any tenant: a token's issuer names the tenant."""
        ...

    async def list_after(self, tenant: str, provider: str, limit: int) -> Slice[IdentityProvider]:
        """Return up to ``limit`` identity providers with greater ids, in their order."""
        ...

    async def add(self, provider: IdentityProvider) -> None:
        """Store a new identity provider; the groups of its mapping are there already."""
        ...

    async def replace(self, provider: IdentityProvider) -> None:
        """Store a changed identity provider; the groups of its mapping are there already."""
        ...

    async def remove(self, tenant: str, provider: str) -> None:
        """Remove an identity provider, but not the groups of its mapping."""
        ...

    async def last_token_of(self, tenant: str, provider: str, user: str) -> datetime | None:
        """Return when the newest token was issued that a user came with; None before the first."""
        ...

    async def set_last_token_of(
        self, tenant: str, provider: str, user: str, issued_at: datetime
    ) -> None:
        """Remember when the newest token was issued that a user came with."""
        ...


class Roles(Protocol):
    """Roles of all tenants."""

    async def get(self, tenant: str, role: str) -> Role | None:
        """Return a role."""
        ...

    async def list_after(
        self, tenant: str, role: str, limit: int, *, max_grants: int
    ) -> Slice[Role]:
        """Return roles with greater ids, in their order.

        Stops after ``limit`` roles, and before the role with which their grants would exceed
        ``max_grants``; but the first is always there.
        """
        ...

    async def unknown(self, tenant: str, roles: Sequence[str]) -> str | None:
        """Return one of the ids that is no role, or None when all are."""
        ...

    async def edges(self, tenant: str, roles: Sequence[str] | None = None) -> dict[str, list[str]]:
        """Return role -> the roles that it inherits, for all (or these) roles that inherit."""
        ...

    async def holders(self, tenant: str, role: str) -> tuple[int, str]:
        """Count who holds or inherits a role, and name one of them (``users/lin``) or ""."""
        ...

    async def add(self, tenant: str, role: Role) -> None:
        """Store a new role."""
        ...

    async def replace(self, tenant: str, role: Role) -> None:
        """Store a changed role."""
        ...

    async def remove(self, tenant: str, role: str) -> None:
        """Remove a role."""
        ...


class ApiKeys(Protocol):
    """API keys of all tenants."""

    async def get(self, key: str) -> ApiKey | None:
        """Return a key of any tenant: the key names its tenant, not the other way round."""
        ...

    async def list_after(
        self, tenant: str, user: str, before: tuple[datetime, str] | None, limit: int
    ) -> Slice[ApiKey]:
        """Return up to ``limit`` keys, newest first.

        Args:
            tenant: Whose keys.
            user: Only this user's keys; "" for all.
            before: (creation, id) of the last key of the page before.
            limit: Most keys to return.
        """
        ...

    async def add(self, key: ApiKey) -> None:
        """Store a new key."""
        ...

    async def revoke(self, key: str, time: datetime) -> None:
        """End a key."""
        ...

    async def record_uses(self, uses: Sequence[tuple[str, datetime]]) -> None:
        """Set the last use of keys; keys that are gone are passed over."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A committed change.

    Attributes:
        version: Counts the changes of all tenants, without gaps, in the order of their commits.
        tenant: Whose policy, users or keys changed.
        policy_version: The tenant's policy version after it; unchanged when only keys changed.
        users: Ids of all users whose permissions or keys may have changed. None, or none at all:
            any of the tenant's.
        roles: Ids of the roles that were made, changed or removed; anyone may hold them.
        groups: Ids of the groups that were made, changed or removed.
    """

    version: int
    tenant: str
    policy_version: int
    users: tuple[str, ...] | None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Policies(Protocol):
    """The policy as a whole and the list of its changes."""

    async def version(self, tenant: str) -> int:
        """Return a tenant's policy version."""
        ...

    async def last_change(self) -> int:
        """Return the version of the newest change over all tenants; 0 before the first."""
        ...

    async def add_change(
        self,
        tenant: str,
        policy_version: int,
        *,
        users: Sequence[str] | None,
        roles: Sequence[str] = (),
        groups: Sequence[str] = (),
        time: datetime,
    ) -> int:
        """Append to the list of changes and return the change's version."""
        ...

    async def changes_after(self, version: int, limit: int) -> list[PolicyChange]:
        """Return changes of all tenants with greater versions, in their order."""
        ...

    async def change_time(self, version: int) -> datetime | None:
        """Return when a change was made; None when it is not listed (any more)."""
        ...

    async def tenant_changes(self, tenant: str, after: int, until: int) -> list[PolicyChange]:
        """Return a tenant's changes with a policy version above ``after`` and up to ``until``."""
        ...

    async def rules(self, tenant: str, roles: Sequence[str] | None) -> dict[str, list[Grant]]:
        """Return role -> its own grants; of these roles alone, or of all."""
        ...

    async def group_roles(self, tenant: str, groups: Sequence[str] | None) -> dict[str, list[str]]:
        """Return group -> its roles; of these groups alone, or of all."""
        ...

    async def holders(self, tenant: str, roles: Iterable[str], limit: int) -> list[str] | None:
        """Return the ids of users who hold one of ``roles`` directly or through a group.

        None: more than ``limit``.
        """
        ...

    async def administration(self, tenant: str) -> Administration:
        """Return the part of the policy that decides who administers the tenant."""
        ...

    async def enabled_holders(
        self, tenant: str, roles: Iterable[str], after: str, limit: int
    ) -> dict[str, frozenset[str]]:
        """Return enabled users who hold one of ``roles`` directly or through a group.

        Args:
            tenant: Whose users.
            roles: Ids of roles.
            after: Only users with greater ids.
            limit: Most users to return.

        Returns:
            User id -> all roles given to them, directly and through groups, in the order of ids.
        """
        ...


class PolicyHistory(Protocol):
    """What the policies of all tenants were at any time, as far back as it is kept."""

    async def keep(
        self,
        tenant: str,
        version: int,
        time: datetime,
        *,
        users: Iterable[str],
        groups: Iterable[str],
        roles: Iterable[str],
    ) -> None:
        """Keep what these users, groups and roles hold now, as of a new policy version.

        Args:
            tenant: Whose policy changed.
            version: Its new version.
            time: When; a time before that of the version before is taken for the same.
            users: Ids of the users that were made, changed or removed.
            groups: Likewise of groups. Their members count as changed with them.
            roles: Likewise of roles.
        """
        ...

    async def first(self, tenant: str) -> PolicyVersion | None:
        """Return the oldest version that is kept."""
        ...

    async def at(self, tenant: str, time: datetime) -> PolicyVersion | None:
        """Return the version that was in force at a time; None before the history begins."""
        ...

    async def numbered(self, tenant: str, version: int) -> PolicyVersion | None:
        """Return a version by its number; None when it is not kept."""
        ...

    async def policy(self, tenant: str, version: PolicyVersion) -> PastPolicy:
        """Return the whole policy of a version."""
        ...

    async def outlived(self, time: datetime) -> Sequence[tuple[str, int]]:
        """Return the tenants with versions older than the one in force at ``time``, and that."""
        ...

    async def forget_before(self, tenant: str, version: int) -> int:
        """Drop what no version from this one on is made of. Returns versions gone."""
        ...

    async def rename_user(self, tenant: str, user: str, name: str) -> None:
        """Let the history know a user by another id."""
        ...


@dataclass(frozen=True, slots=True)
class ReplicaLease:
    """Until when a replica may serve callers on what it knows.

    Attributes:
        replica: Its name.
        acknowledged: It applied every change up to this version.
        until: When the lease runs out by itself.
        ended: Whether somebody relied on it having run out; it cannot be renewed then.
    """

    replica: str
    acknowledged: int
    until: datetime
    ended: bool = False


class PolicyLeases(Protocol):
    """Leases of all replicas that follow the policy feed, whichever process they are connected to.

    What is read with ``for_update`` is not changed by others before the transaction ends.
    """

    async def get(self, replica: str, *, for_update: bool = False) -> ReplicaLease | None:
        """Return a replica's lease, run out or not."""
        ...

    async def renew(self, replica: str, version: int, until: datetime) -> bool:
        """Renew the lease of a replica that applied the newest change, in one step.

        Returns:
            False, and nothing is changed, when ``version`` is not the newest, or the replica holds
            no lease that may be renewed.
        """
        ...

    async def put(self, lease: ReplicaLease) -> None:
        """Store a lease in place of the replica's last one."""
        ...

    async def list_all(self) -> list[ReplicaLease]:
        """Return all leases, those that ran out lately included."""
        ...

    async def end_lapsed(self, before: datetime) -> None:
        """End the leases that ran out before a moment."""
        ...

    async def forget(self, before: datetime) -> None:
        """Remove the leases that ran out before a moment."""
        ...


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines of an audit log.

    Attributes:
        start_time: Only at or after.
        end_time: Only before.
        user: Only of this actor or on this user's behalf (``users/lin``); "" for all.
        action: Only this action; "" for all.
        resource_prefix: Only resources that begin so; "" for all.
        decision: Only this decision; None for all.
        detail: Only this detail, such as an error reason; "" for all.
        policy_version: Only decided under this version; 0 for all.
    """

    start_time: datetime | None = None
    end_time: datetime | None = None
    user: str = ""
    action: str = ""
    resource_prefix: str = ""
    decision: Decision | None = None
    detail: str = ""
    policy_version: int = 0


class AuditLines(Protocol):
    """The stored lines of the audit logs."""

    async def head(self, tenant: str) -> AuditHead | None:
        """Return where a tenant's log ends; None when there is no such tenant."""
        ...

    async def append(self, tenant: str, events: Sequence[AuditEvent]) -> None:
        """Seal events and put them at the end of a tenant's log, pseudonyms in place of names.

        Raises:
            TenantNotFound: There is no such tenant.
        """
        ...

    async def append_all(self, events: Mapping[str, Sequence[AuditEvent]]) -> None:
        """Append to the logs of many tenants; costs a few statements, not a few for each.

        Raises:
            TenantNotFound: There is no such tenant.
        """
        ...

    async def list_before(
        self, tenant: str, chosen: AuditFilter, before: int, limit: int
    ) -> Slice[AuditLine]:
        """Return up to ``limit`` lines with names, newest first.

        Args:
            tenant: Whose log.
            chosen: Which lines.
            before: Only sequences below; 0 for all.
            limit: Most lines to return.
        """
        ...

    async def get(self, tenant: str, sequence: int) -> AuditLine | None:
        """Return one line with names."""
        ...

    async def read_after(self, tenant: str, sequence: int, limit: int) -> list[AuditLine]:
        """Return up to ``limit`` lines with greater sequences, oldest first, as they were sealed.

        They hold pseudonyms; the hashes are over those.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint as it is stored; nobody has verified it yet.

    Attributes:
        sequence: The line that it is about, as the table says.
        statement: The signed form, a JWS.
    """

    sequence: int
    statement: str


class Checkpoints(Protocol):
    """Signed checkpoints of the audit logs."""

    async def due(self, events: int, before: datetime, limit: int) -> list[str]:
        """Return tenants whose logs grew by so many lines, or at all since a time."""
        ...

    async def lock_head(self, tenant: str) -> AuditHead | None:
        """Return where a log ends, if that is beyond its last checkpoint, and let nobody append."""
        ...

    async def add(self, tenant: str, checkpoint: StoredCheckpoint, time: datetime) -> None:
        """Store a checkpoint."""
        ...

    async def list_before(self, tenant: str, before: int, limit: int) -> Slice[StoredCheckpoint]:
        """Return up to ``limit`` checkpoints, newest first, below ``before`` (0: all)."""
        ...

    async def read_after(
        self, tenant: str, sequence: int, until: int | None
    ) -> list[StoredCheckpoint]:
        """Return the checkpoints after a line, up to another one or to the end, oldest first."""
        ...


class Pseudonyms(Protocol):
    """What the audit logs hold in place of users' names. Appending to a log makes them."""

    async def of(self, tenant: str, user: str) -> str | None:
        """Return a user's pseudonym; None when the log has none."""
        ...

    async def unlink(self, tenant: str, user: str) -> str:
        """Forget which pseudonym is this user's, and return it; a new one when there is none."""
        ...

    async def list_after(self, tenant: str, user: str, limit: int) -> list[Pseudonym]:
        """Return up to ``limit`` pseudonyms of users with greater ids, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class ErasedUser:
    """Somebody of whom nothing is to be kept.

    Attributes:
        sequence: Place in the list, from 1, without gaps, in the order of commits.
        tenant: Their tenant.
        user: Their id, which somebody else may have got since.
        time: When they were erased. What is newer is not theirs.
    """

    sequence: int
    tenant: str
    user: str
    time: datetime


class ErasedUsers(Protocol):
    """The users of all tenants who were erased."""

    async def add(self, tenant: str, user: str, time: datetime) -> int:
        """Append a user to the list and return their place; with the installation locked."""
        ...

    async def list_after(self, sequence: int, limit: int) -> Slice[ErasedUser]:
        """Return up to ``limit`` erased users of all tenants with greater places."""
        ...

    async def last(self, tenant: str) -> int:
        """Return the place of a tenant's user who was erased last; 0 when nobody was."""
        ...


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A signing key as it is stored: nobody can sign with it who lacks the installation's secret.

    Attributes:
        kid: Key id (RFC 7517).
        sealed: Encrypted private key.
        create_time: When it was made. The newest key signs; all of them verify.
    """

    kid: str
    sealed: bytes
    create_time: datetime


class SigningKeys(Protocol):
    """Stored signing keys, and the public halves of all that ever were."""

    async def list_public(self) -> list[SealedKey]:
        """Return the public keys, sealed too so that nobody slips in one of theirs."""
        ...

    async def add_public(self, key: SealedKey) -> None:
        """Store a public key for good."""
        ...

    async def list_all(self) -> list[SealedKey]:
        """Return all keys, newest first."""
        ...

    async def add(self, key: SealedKey) -> None:
        """Store a new key."""
        ...


class UnitOfWork(Protocol):
    """One transaction over everything that is stored."""

    @property
    def tenants(self) -> Tenants:
        """Tenants."""
        ...

    @property
    def users(self) -> Users:
        """Users."""
        ...

    @property
    def groups(self) -> Groups:
        """Groups."""
        ...

    @property
    def identity_providers(self) -> IdentityProviders:
        """Identity providers."""
        ...

    @property
    def roles(self) -> Roles:
        """Roles."""
        ...

    @property
    def api_keys(self) -> ApiKeys:
        """API keys."""
        ...

    @property
    def policies(self) -> Policies:
        """Policies and their changes."""
        ...

    @property
    def history(self) -> PolicyHistory:
        """What the policies were."""
        ...

    @property
    def leases(self) -> PolicyLeases:
        """Leases of replicas."""
        ...

    @property
    def audit(self) -> AuditLines:
        """Audit logs."""
        ...

    @property
    def checkpoints(self) -> Checkpoints:
        """Signed checkpoints."""
        ...

    @property
    def pseudonyms(self) -> Pseudonyms:
        """Pseudonyms of users."""
        ...

    @property
    def erased_users(self) -> ErasedUsers:
        """Erased users."""
        ...

    @property
    def signing_keys(self) -> SigningKeys:
        """Signing keys."""
        ...


class Storage(Protocol):
    """Where everything is kept."""

    def read(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Give a transaction that changes nothing."""
        ...

    def write(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Give a transaction: committed and durable at its end, or undone on an error."""
        ...


class PolicyEnforcer(Protocol):
    """One tenant's roles and rules in memory, which decide. Not safe for several threads."""

    def clear(self) -> None:
        """Forget everything."""
        ...

    def set_roles(self, roles: Iterable[tuple[str, Sequence[Grant], Sequence[str]]]) -> None:
        """Put roles (id, own grants, inherited roles), in place of what they were."""
        ...

    def remove_role(self, role: str) -> None:
        """Forget a role."""
        ...

    def set_group(self, group: str, roles: Sequence[str]) -> None:
        """Put a group, in place of what it was."""
        ...

    def remove_group(self, group: str) -> None:
        """Forget a group."""
        ...

    def roles_of(self, memberships: Memberships) -> frozenset[str]:
        """Return all roles of such a user: given, through groups, and inherited."""
        ...

    def grants_of(self, role: str) -> Sequence[Grant]:
        """Return a role's own grants."""
        ...

    def block_of(self, role: str) -> RuleBlock:
        """Return a role's own grants, compiled; the same object until they change."""
        ...

    def enforce(self, user: str, memberships: Memberships, resource: str, action: str) -> bool:
        """Decide by looking at every rule: slow, and the measure for every faster way."""
        ...


class KeyVault(Protocol):
    """Seals small secrets so that the database alone does not give them away."""

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Encrypt; ``purpose`` must be given again to open."""
        ...

    def open(self, sealed: bytes, purpose: str) -> bytes | None:
        """Decrypt; None when it was sealed under another secret or purpose, or was altered."""
        ...


class MethodPermissions(Protocol):
    """What the methods of all services ask for."""

    def of(self, action: str) -> str | None:
        """Return what ``knowledge.Ask`` needs, ``knowledge.answers:ask``; None when unknown."""
        ...


class OutsideTokens(Protocol):
    """Reads and verifies tokens (JWT, RFC 7519) of identity providers."""

    def read_header(self, token: str) -> Header:
        """Return what a token says of itself; nothing is verified.

        Raises:
            TokenInvalid: It cannot be read, or is no token for a caller.
        """
        ...

    async def verify(
        self, token: str, header: Header, provider: IdentityProvider
    ) -> Mapping[str, object]:
        """Return the claims of a token whose signature fits a key of the provider's issuer.

        Raises:
            TokenAlgorithmRefused: The provider does not take its algorithm.
            TokenKeyUnknown: The issuer publishes no such key.
            TokenInvalid: The signature does not fit.
            IdentityProviderUnreachable: The issuer's keys cannot be had.
        """
        ...
