"""AdminService: each method parses, calls one use case and converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from atrium.admin.v1 import admin_pb2, admin_service_pb2, admin_service_pb2_grpc
from atrium_admin.app.bootstrap_installation import BootstrapInstallation
from atrium_admin.app.create_api_key import CreateApiKey
from atrium_admin.app.create_group import CreateGroup
from atrium_admin.app.create_role import CreateRole
from atrium_admin.app.create_tenant import CreateTenant
from atrium_admin.app.create_user import CreateUser
from atrium_admin.app.delete_group import DeleteGroup
from atrium_admin.app.delete_role import DeleteRole
from atrium_admin.app.delete_user import DeleteUser
from atrium_admin.app.explain_permission import ExplainPermission
from atrium_admin.app.list_api_keys import ListApiKeys
from atrium_admin.app.read_audit_log import ListAuditEvents, VerifyAuditLog
from atrium_admin.app.read_groups import GetGroup, ListGroups
from atrium_admin.app.read_roles import GetRole, ListRoles
from atrium_admin.app.read_tenants import GetTenant, ListTenants
from atrium_admin.app.read_users import GetUser, ListUsers
from atrium_admin.app.revoke import Revoke
from atrium_admin.app.revoke_api_key import RevokeApiKey
from atrium_admin.app.update_group import UpdateGroup
from atrium_admin.app.update_role import UpdateRole
from atrium_admin.app.update_tenant import UpdateTenant
from atrium_admin.app.update_user import UpdateUser
from atrium_admin.rpc import convert
from atrium_shared.rpc.context import principal

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class AdminUseCases:
    """What the servicer calls; named like the methods."""

    bootstrap: BootstrapInstallation
    create_tenant: CreateTenant
    update_tenant: UpdateTenant
    get_tenant: GetTenant
    list_tenants: ListTenants
    create_user: CreateUser
    get_user: GetUser
    list_users: ListUsers
    update_user: UpdateUser
    delete_user: DeleteUser
    create_group: CreateGroup
    get_group: GetGroup
    list_groups: ListGroups
    update_group: UpdateGroup
    delete_group: DeleteGroup
    create_role: CreateRole
    get_role: GetRole
    list_roles: ListRoles
    update_role: UpdateRole
    delete_role: DeleteRole
    explain_permission: ExplainPermission
    create_api_key: CreateApiKey
    list_api_keys: ListApiKeys
    revoke_api_key: RevokeApiKey
    revoke: Revoke
    list_audit_events: ListAuditEvents
    verify_audit_log: VerifyAuditLog


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Serves ``atrium.admin.v1.AdminService``."""

    def __init__(self, use_cases: AdminUseCases) -> None:
        self._do = use_cases

    async def Bootstrap(
        self, request: admin_service_pb2.BootstrapRequest, context: Context
    ) -> admin_service_pb2.BootstrapResponse:
        founded = await self._do.bootstrap(principal(context), convert.bootstrap_draft(request))
        return convert.bootstrap_to_proto(founded)

    async def CreateTenant(
        self, request: admin_service_pb2.CreateTenantRequest, context: Context
    ) -> admin_service_pb2.CreateTenantResponse:
        founded = await self._do.create_tenant(principal(context), convert.tenant_draft(request))
        return convert.founded_to_proto(founded)

    async def UpdateTenant(
        self, request: admin_service_pb2.UpdateTenantRequest, context: Context
    ) -> admin_pb2.Tenant:
        draft, mask = convert.tenant_changes(request.tenant), request.update_mask.paths
        tenant = await self._do.update_tenant(principal(context), request.tenant.name, draft, mask)
        return convert.tenant_to_proto(tenant)

    async def GetTenant(
        self, request: admin_service_pb2.GetTenantRequest, context: Context
    ) -> admin_pb2.Tenant:
        tenant = await self._do.get_tenant(principal(context), request.name)
        return convert.tenant_to_proto(tenant)

    async def ListTenants(
        self, request: admin_service_pb2.ListTenantsRequest, context: Context
    ) -> admin_service_pb2.ListTenantsResponse:
        page = await self._do.list_tenants(principal(context), convert.page(request))
        return admin_service_pb2.ListTenantsResponse(
            tenants=map(convert.tenant_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def CreateUser(
        self, request: admin_service_pb2.CreateUserRequest, context: Context
    ) -> admin_pb2.User:
        draft = convert.user_draft(request.user)
        user = await self._do.create_user(principal(context), request.user_id, draft)
        return convert.user_to_proto(user)

    async def GetUser(
        self, request: admin_service_pb2.GetUserRequest, context: Context
    ) -> admin_pb2.User:
        user = await self._do.get_user(principal(context), request.name)
        return convert.user_to_proto(user)

    async def ListUsers(
        self, request: admin_service_pb2.ListUsersRequest, context: Context
    ) -> admin_service_pb2.ListUsersResponse:
        page = await self._do.list_users(principal(context), convert.page(request))
        return admin_service_pb2.ListUsersResponse(
            users=map(convert.user_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def UpdateUser(
        self, request: admin_service_pb2.UpdateUserRequest, context: Context
    ) -> admin_pb2.User:
        draft, mask = convert.user_draft(request.user), request.update_mask.paths
        user = await self._do.update_user(principal(context), request.user.name, draft, mask)
        return convert.user_to_proto(user)

    async def DeleteUser(
        self, request: admin_service_pb2.DeleteUserRequest, context: Context
    ) -> Empty:
        await self._do.delete_user(principal(context), request.name)
        return Empty()

    async def CreateGroup(
        self, request: admin_service_pb2.CreateGroupRequest, context: Context
    ) -> admin_pb2.Group:
        draft = convert.group_draft(request.group)
        group = await self._do.create_group(principal(context), request.group_id, draft)
        return convert.group_to_proto(group)

    async def GetGroup(
        self, request: admin_service_pb2.GetGroupRequest, context: Context
    ) -> admin_pb2.Group:
        group = await self._do.get_group(principal(context), request.name)
        return convert.group_to_proto(group)

    async def ListGroups(
        self, request: admin_service_pb2.ListGroupsRequest, context: Context
    ) -> admin_service_pb2.ListGroupsResponse:
        page = await self._do.list_groups(principal(context), convert.page(request))
        return admin_service_pb2.ListGroupsResponse(
            groups=map(convert.group_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def UpdateGroup(
        self, request: admin_service_pb2.UpdateGroupRequest, context: Context
    ) -> admin_pb2.Group:
        draft, mask = convert.group_draft(request.group), request.update_mask.paths
        group = await self._do.update_group(principal(context), request.group.name, draft, mask)
        return convert.group_to_proto(group)

    async def DeleteGroup(
        self, request: admin_service_pb2.DeleteGroupRequest, context: Context
    ) -> Empty:
        await self._do.delete_group(principal(context), request.name)
        return Empty()

    async def CreateRole(
        self, request: admin_service_pb2.CreateRoleRequest, context: Context
    ) -> admin_pb2.Role:
        draft = convert.role_draft(request.role)
        role = await self._do.create_role(principal(context), request.role_id, draft)
        return convert.role_to_proto(role)

    async def GetRole(
        self, request: admin_service_pb2.GetRoleRequest, context: Context
    ) -> admin_pb2.Role:
        role = await self._do.get_role(principal(context), request.name)
        return convert.role_to_proto(role)

    async def ListRoles(
        self, request: admin_service_pb2.ListRolesRequest, context: Context
    ) -> admin_service_pb2.ListRolesResponse:
        page = await self._do.list_roles(principal(context), convert.page(request))
        return admin_service_pb2.ListRolesResponse(
            roles=map(convert.role_to_proto, page.items), next_page_token=page.next_page_token
        )

    async def UpdateRole(
        self, request: admin_service_pb2.UpdateRoleRequest, context: Context
    ) -> admin_pb2.Role:
        draft, mask = convert.role_draft(request.role), request.update_mask.paths
        role = await self._do.update_role(principal(context), request.role.name, draft, mask)
        return convert.role_to_proto(role)

    async def DeleteRole(
        self, request: admin_service_pb2.DeleteRoleRequest, context: Context
    ) -> Empty:
        await self._do.delete_role(principal(context), request.name)
        return Empty()

    async def TestPermission(
        self, request: admin_service_pb2.TestPermissionRequest, context: Context
    ) -> admin_service_pb2.TestPermissionResponse:
        verdict = await self._do.explain_permission(
            principal(context), request.user, request.resource, request.action
        )
        return convert.verdict_to_proto(verdict)

    async def CreateApiKey(
        self, request: admin_service_pb2.CreateApiKeyRequest, context: Context
    ) -> admin_service_pb2.CreateApiKeyResponse:
        key, credential = await self._do.create_api_key(
            principal(context), request.user, request.display_name, convert.expire_time(request)
        )
        return admin_service_pb2.CreateApiKeyResponse(
            api_key=convert.api_key_to_proto(key), secret=credential
        )

    async def ListApiKeys(
        self, request: admin_service_pb2.ListApiKeysRequest, context: Context
    ) -> admin_service_pb2.ListApiKeysResponse:
        page = await self._do.list_api_keys(principal(context), request.user, convert.page(request))
        return admin_service_pb2.ListApiKeysResponse(
            api_keys=map(convert.api_key_to_proto, page.items),
            next_page_token=page.next_page_token,
        )

    async def RevokeApiKey(
        self, request: admin_service_pb2.RevokeApiKeyRequest, context: Context
    ) -> admin_pb2.ApiKey:
        key = await self._do.revoke_api_key(principal(context), request.name)
        return convert.api_key_to_proto(key)

    async def Revoke(
        self, request: admin_service_pb2.RevokeRequest, context: Context
    ) -> admin_service_pb2.RevokeResponse:
        revoked = await self._do.revoke(principal(context), convert.revoke_target(request))
        return convert.revoked_to_proto(revoked)

    async def ListAuditEvents(
        self, request: admin_service_pb2.ListAuditEventsRequest, context: Context
    ) -> admin_service_pb2.ListAuditEventsResponse:
        page = await self._do.list_audit_events(
            principal(context), convert.audit_filter(request), convert.page(request)
        )
        return admin_service_pb2.ListAuditEventsResponse(
            events=map(convert.audit_line_to_proto, page.items),
            next_page_token=page.next_page_token,
        )

    async def VerifyAuditLog(
        self, request: admin_service_pb2.VerifyAuditLogRequest, context: Context
    ) -> admin_service_pb2.VerifyAuditLogResponse:
        verdict = await self._do.verify_audit_log(principal(context), request.checkpoint)
        return convert.audit_verdict_to_proto(verdict)
