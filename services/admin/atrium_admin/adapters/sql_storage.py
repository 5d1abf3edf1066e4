"""Everything that is stored, in one SQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from atrium_admin.adapters.sql_api_keys import SqlApiKeys
from atrium_admin.adapters.sql_audit_lines import SqlAuditLines
from atrium_admin.adapters.sql_checkpoints import SqlCheckpoints
from atrium_admin.adapters.sql_erased_users import SqlErasedUsers
from atrium_admin.adapters.sql_groups import SqlGroups
from atrium_admin.adapters.sql_identity_providers import SqlIdentityProviders
from atrium_admin.adapters.sql_policies import SqlPolicies
from atrium_admin.adapters.sql_policy_history import SqlPolicyHistory
from atrium_admin.adapters.sql_policy_leases import SqlPolicyLeases
from atrium_admin.adapters.sql_pseudonyms import SqlPseudonyms
from atrium_admin.adapters.sql_roles import SqlRoles
from atrium_admin.adapters.sql_signing_keys import SqlSigningKeys
from atrium_admin.adapters.sql_tenants import SqlTenants
from atrium_admin.adapters.sql_users import SqlUsers
from atrium_shared.database import Database


class SqlUnitOfWork:
    """Implements :class:`~atrium_admin.app.ports.UnitOfWork` over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self.tenants = SqlTenants(session)
        self.users = SqlUsers(session)
        self.groups = SqlGroups(session)
        self.identity_providers = SqlIdentityProviders(session)
        self.roles = SqlRoles(session)
        self.api_keys = SqlApiKeys(session)
        self.policies = SqlPolicies(session)
        self.history = SqlPolicyHistory(session)
        self.pseudonyms = SqlPseudonyms(session)
        self.erased_users = SqlErasedUsers(session)
        self.audit = SqlAuditLines(session, self.pseudonyms)
        self.leases = SqlPolicyLeases(session)
        self.checkpoints = SqlCheckpoints(session)
        self.signing_keys = SqlSigningKeys(session)


class SqlStorage:
    """Implements :class:`~atrium_admin.app.ports.Storage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlUnitOfWork]:
        """Give a transaction that changes nothing."""
        async with self._database.read() as session:
            yield SqlUnitOfWork(session)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlUnitOfWork]:
        """Give a transaction: committed and durable at its end, or undone on an error."""
        async with self._database.write() as session:
            yield SqlUnitOfWork(session)
