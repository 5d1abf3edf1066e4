"""Builds the admin service: the one place that knows every layer."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette

from atrium.admin.v1 import (
    admin_service_pb2_grpc,
    audit_service_pb2_grpc,
    directory_service_pb2_grpc,
    identity_service_pb2_grpc,
)
from atrium_admin.adapters.aesgcm_vault import AesGcmVault
from atrium_admin.adapters.casbin_enforcer import CasbinEnforcer
from atrium_admin.adapters.httpx_key_sets import HttpxKeySets
from atrium_admin.adapters.local_audit_sink import LocalAuditSink
from atrium_admin.adapters.pyjwt_outside_tokens import PyJwtOutsideTokens
from atrium_admin.adapters.sql_storage import SqlStorage
from atrium_admin.app.audit_checkpoints import ListAuditCheckpoints, SignCheckpoints
from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.authenticate import Authenticate
from atrium_admin.app.bootstrap_installation import BootstrapInstallation
from atrium_admin.app.change_identity_providers import (
    CreateIdentityProvider,
    DeleteIdentityProvider,
    IdentityProviderRules,
    UpdateIdentityProvider,
)
from atrium_admin.app.change_policy import Changes
from atrium_admin.app.compile_policy import CompilePolicy
from atrium_admin.app.create_api_key import CreateApiKey
from atrium_admin.app.create_group import CreateGroup
from atrium_admin.app.create_role import CreateRole
from atrium_admin.app.create_tenant import CreateTenant
from atrium_admin.app.create_user import CreateUser
from atrium_admin.app.delete_group import DeleteGroup
from atrium_admin.app.delete_role import DeleteRole
from atrium_admin.app.delete_user import DeleteUser
from atrium_admin.app.erase_user import EraseUser
from atrium_admin.app.exchange_credential import ExchangeCredential
from atrium_admin.app.explain_permission import ExplainPermission
from atrium_admin.app.find_in_directory import FindGroups, FindUsers
from atrium_admin.app.issue_key import IssueKey
from atrium_admin.app.key_uses import KeyUses
from atrium_admin.app.list_api_keys import ListApiKeys
from atrium_admin.app.list_erased_users import ListErasedUsers
from atrium_admin.app.list_readers import ListReaders
from atrium_admin.app.past_policies import PastPolicies
from atrium_admin.app.policy_feed import PolicyFeed
from atrium_admin.app.policy_leases import PolicyLeaseBook
from atrium_admin.app.read_audit_log import ListAuditEvents, VerifyAuditLog
from atrium_admin.app.read_groups import GetGroup, ListGroups
from atrium_admin.app.read_identity_providers import GetIdentityProvider, ListIdentityProviders
from atrium_admin.app.read_roles import GetRole, ListRoles
from atrium_admin.app.read_tenants import GetTenant, ListTenants
from atrium_admin.app.read_users import GetUser, ListUsers
from atrium_admin.app.refresh_built_in_roles import RefreshBuiltInRoles
from atrium_admin.app.replay_decision import ReplayDecision
from atrium_admin.app.replay_permission import ReplayPermission
from atrium_admin.app.revoke import Revoke
from atrium_admin.app.revoke_api_key import RevokeApiKey
from atrium_admin.app.search_audit_log import ExportAuditLog, SearchAuditEvents
from atrium_admin.app.sign_in import SignIn
from atrium_admin.app.signing import Signing
from atrium_admin.app.update_group import UpdateGroup
from atrium_admin.app.update_role import UpdateRole
from atrium_admin.app.update_tenant import UpdateTenant
from atrium_admin.app.update_user import UpdateUser
from atrium_admin.app.upkeep import ForgetOldPolicies, Upkeep
from atrium_admin.rpc.admin_servicer import AdminServicer, AdminUseCases
from atrium_admin.rpc.audit_servicer import AuditServicer, AuditUseCases
from atrium_admin.rpc.authenticator import AdminAuthenticator
from atrium_admin.rpc.directory_servicer import DirectoryServicer, DirectoryUseCases
from atrium_admin.rpc.identity_servicer import IdentityServicer
from atrium_admin.rpc.method_permissions import ProtoMethodPermissions
from atrium_admin.scim.routes import ScimEndpoints, ScimUseCases
from atrium_admin.settings import AdminSettings
from atrium_shared.clock import Clock, Ids, RandomIds, SystemClock
from atrium_shared.database import Database
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.settings import secret_bytes

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class AdminApp:
    """The admin service, wired.

    Attributes:
        service_app: What a server serves.
        authenticator: Authenticates calls to any service of this process, without a network hop.
        audit: Audit log for any service of this process.
        bootstrap: Makes the first tenant, for a process that does it without a network hop.
        issue_key: The command line's way back in; see :class:`IssueKey`.
        key_uses: Writes when keys were last used.
        sign_checkpoints: Signs the audit logs.
        forget_old_policies: Drops the history of policies beyond its days.
        compile_policy: Compiles allow-sets.
        feed: Tells who caches permissions what changed.
        scim: SCIM over HTTP, to be mounted at ``/scim``.
    """

    service_app: ServiceApp
    authenticator: AdminAuthenticator
    audit: LocalAuditSink
    bootstrap: BootstrapInstallation
    issue_key: IssueKey
    key_uses: KeyUses
    sign_checkpoints: SignCheckpoints
    forget_old_policies: ForgetOldPolicies
    compile_policy: CompilePolicy
    feed: PolicyFeed
    scim: Starlette


def build(
    settings: AdminSettings,
    *,
    served: Sequence[str] = ("admin",),
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> AdminApp:
    """Wire the admin service; nothing is opened before ``service_app.start()``.

    Args:
        settings: What the operator set.
        served: Names of all services in this process. Tokens that the authenticator makes are for
            these, and tokens for any of these are accepted.
        clock: Replaces the machine's clock.
        ids: Replaces random ids.
    """
    clock = clock or SystemClock()
    ids = ids or RandomIds()
    database = Database(settings.database_url, migrations=MIGRATIONS, name="admin")
    storage = SqlStorage(database)
    log = AuditLog(storage)
    trail = AuditTrail(log, clock)
    feed = PolicyFeed(
        storage,
        PolicyLeaseBook(storage, clock),
        clock,
        # Unique: whoever waits for all processes must not take two of them for one.
        replica=f"admin@{socket.gethostname()}:{os.getpid()}/{RandomIds().new('')}",
        poll_seconds=settings.poll_seconds,
    )
    changes = Changes(storage, trail, feed, clock)
    compile_policy = CompilePolicy(storage, CasbinEnforcer, max_tenants=settings.cached_tenants)
    signing = Signing(storage, AesGcmVault(secret_bytes(settings.secret)), clock, ids)
    uses = KeyUses(storage, clock)
    key_sets = HttpxKeySets(clock, loopback_http=settings.oidc_loopback_http)
    sign_in = SignIn(storage, changes, PyJwtOutsideTokens(key_sets), log, clock, ids)
    authenticate = Authenticate(storage, compile_policy, signing, sign_in, uses, log, clock)
    exchange = ExchangeCredential(authenticate, signing)
    refresh_built_in_roles = RefreshBuiltInRoles(storage, changes, clock)
    bootstrap = BootstrapInstallation(storage, trail, log, clock, ids)
    create_user, update_user = CreateUser(changes, clock), UpdateUser(changes)
    get_user, delete_user = GetUser(storage, trail), DeleteUser(changes)
    create_group, update_group = CreateGroup(changes, clock), UpdateGroup(changes)
    get_group, delete_group = GetGroup(storage, trail), DeleteGroup(changes)
    admin = AdminServicer(
        AdminUseCases(
            bootstrap=bootstrap,
            create_tenant=CreateTenant(storage, trail, clock, ids),
            update_tenant=UpdateTenant(changes, trail),
            get_tenant=GetTenant(storage, trail),
            list_tenants=ListTenants(storage, trail),
            create_user=create_user,
            get_user=get_user,
            list_users=ListUsers(storage, trail),
            update_user=update_user,
            delete_user=delete_user,
            create_group=create_group,
            get_group=get_group,
            list_groups=ListGroups(storage, trail),
            update_group=update_group,
            delete_group=delete_group,
            create_role=CreateRole(changes, clock),
            get_role=GetRole(storage, trail),
            list_roles=ListRoles(storage, trail),
            update_role=UpdateRole(changes),
            delete_role=DeleteRole(changes),
            explain_permission=ExplainPermission(storage, compile_policy, trail),
            create_api_key=CreateApiKey(changes, clock, ids),
            list_api_keys=ListApiKeys(storage, trail),
            revoke_api_key=RevokeApiKey(changes, clock),
            revoke=Revoke(changes, feed, clock),
            list_audit_events=ListAuditEvents(storage, trail),
            verify_audit_log=VerifyAuditLog(storage, signing, trail),
        )
    )
    sign_checkpoints = SignCheckpoints(
        storage,
        signing,
        clock,
        events=settings.checkpoint_events,
        seconds=settings.checkpoint_seconds,
    )
    forget = ForgetOldPolicies(storage, clock, days=settings.policy_history_days)
    upkeep = Upkeep(sign_checkpoints, forget, clock)
    past_policies = PastPolicies(storage, CasbinEnforcer, clock)
    auditing = AuditServicer(
        AuditUseCases(
            erase_user=EraseUser(changes, clock),
            list_readers=ListReaders(past_policies, trail),
            replay_permission=ReplayPermission(past_policies, trail),
            replay_decision=ReplayDecision(storage, past_policies, ProtoMethodPermissions(), trail),
            search_audit_events=SearchAuditEvents(storage, trail),
            list_audit_checkpoints=ListAuditCheckpoints(storage, signing, trail),
            export_audit_log=ExportAuditLog(storage, sign_checkpoints, trail),
        )
    )
    authenticator = AdminAuthenticator(exchange, feed, clock, served)
    scim = ScimEndpoints(
        ScimUseCases(
            find_users=FindUsers(storage, trail),
            get_user=get_user,
            create_user=create_user,
            update_user=update_user,
            delete_user=delete_user,
            find_groups=FindGroups(storage, trail),
            get_group=get_group,
            create_group=create_group,
            update_group=update_group,
            delete_group=delete_group,
        ),
        authenticator,
        trail,
        log,
        ids,
    )
    rules = IdentityProviderRules(clock, loopback_http=settings.oidc_loopback_http)
    directory = DirectoryServicer(
        DirectoryUseCases(
            create_identity_provider=CreateIdentityProvider(changes, rules, clock),
            get_identity_provider=GetIdentityProvider(storage, trail),
            list_identity_providers=ListIdentityProviders(storage, trail),
            update_identity_provider=UpdateIdentityProvider(changes, rules),
            delete_identity_provider=DeleteIdentityProvider(changes, rules),
        )
    )
    identity = IdentityServicer(exchange, signing, feed, log, ListErasedUsers(storage), clock)

    async def start() -> None:
        await database.start()
        await signing.start()
        await feed.start()
        await refresh_built_in_roles()
        await uses.start()
        await upkeep.start()

    async def stop() -> None:
        await feed.stop()
        await upkeep.stop()
        await uses.stop()
        await key_sets.close()
        await log.close()
        await database.close()

    service_app = ServiceApp(
        name="admin",
        services={
            "atrium.admin.v1.AdminService": partial(
                admin_service_pb2_grpc.add_AdminServiceServicer_to_server, admin
            ),
            "atrium.admin.v1.AuditService": partial(
                audit_service_pb2_grpc.add_AuditServiceServicer_to_server, auditing
            ),
            "atrium.admin.v1.DirectoryService": partial(
                directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server, directory
            ),
            "atrium.admin.v1.IdentityService": partial(
                identity_service_pb2_grpc.add_IdentityServiceServicer_to_server, identity
            ),
        },
        start=start,
        stop=stop,
    )
    return AdminApp(
        service_app=service_app,
        authenticator=authenticator,
        audit=LocalAuditSink(log, clock),
        bootstrap=bootstrap,
        issue_key=IssueKey(changes, clock, ids),
        key_uses=uses,
        sign_checkpoints=sign_checkpoints,
        forget_old_policies=forget,
        compile_policy=compile_policy,
        feed=feed,
        scim=scim.app(),
    )


async def issue_key(settings: AdminSettings, tenant: str, user: str) -> tuple[str, str]:
    """Return the name of a new key of a user, and the key. A server may use the same database.

    Raises:
        AtriumError: There is no such tenant or user, or the database cannot be opened.
    """
    admin = build(settings)
    await admin.service_app.start()
    try:
        key, credential = await admin.issue_key(tenant, user)
    finally:
        await admin.service_app.stop()
    return key.name, credential
