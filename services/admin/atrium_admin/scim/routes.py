"""The endpoints: each parses, calls the use cases that gRPC calls too, and converts."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from scim2_models import (
    Context,
    Group,
    ListResponse,
    PatchOp,
    ResponseParameters,
    SCIMException,
    ScimPolicy,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atrium_admin.app.audit_log import AuditLog
from atrium_admin.app.audit_trail import AuditTrail
from atrium_admin.app.create_group import CreateGroup
from atrium_admin.app.create_user import CreateUser
from atrium_admin.app.delete_group import DeleteGroup
from atrium_admin.app.delete_user import DeleteUser
from atrium_admin.app.find_in_directory import FindGroups, FindUsers, Query
from atrium_admin.app.read_groups import GetGroup
from atrium_admin.app.read_users import GetUser
from atrium_admin.app.update_group import UpdateGroup
from atrium_admin.app.update_user import UpdateUser
from atrium_admin.domain.audit import Decision
from atrium_admin.domain.names import group_name, is_id, user_name
from atrium_admin.domain.users import Group as DomainGroup
from atrium_admin.domain.users import GroupDraft, User
from atrium_admin.scim.errors import (
    BodyMalformed,
    BodyTooLarge,
    ParameterMalformed,
    PatchTooLong,
    PathTooLong,
    PermissionMissing,
    error_body,
    scim_error,
)
from atrium_admin.scim.filters import GROUPS, USERS, Searchable, read_filter, read_order
from atrium_admin.scim.resources import (
    GROUP_FIELDS,
    MOST_RESULTS,
    USER_FIELDS,
    IncomingUser,
    group_draft,
    group_to_scim,
    resource_types,
    schemas,
    service_provider_config,
    user_draft,
    user_to_scim,
)
from atrium_shared.clock import Ids
from atrium_shared.errors import AtriumError
from atrium_shared.identity import Authenticator, CredentialMissing
from atrium_shared.principal import Principal

MEDIA_TYPE = "application/scim+json"
MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_OPERATIONS = 1000
MOST_PATH_CHARACTERS = 512
"""Of a path in a patch; with as many operations as there may be, parsing them takes a second."""

_PERMISSION = ("admin.users", "manage")
_TOLERANT = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)
# As Entra patches: what to remove as a value, and values for entries that are not there yet.
_PATCHES = ScimPolicy(
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
# Beyond nine digits nothing is counted, and no database takes them all.
_NUMBER = re.compile(r"-?[0-9]{1,9}")

_log = structlog.get_logger(__name__)

Handler = Callable[[Request, Principal], Awaitable[Response]]


@dataclass(frozen=True)
class ScimUseCases:
    """What the endpoints call."""

    find_users: FindUsers
    get_user: GetUser
    create_user: CreateUser
    update_user: UpdateUser
    delete_user: DeleteUser
    find_groups: FindGroups
    get_group: GetGroup
    create_group: CreateGroup
    update_group: UpdateGroup
    delete_group: DeleteGroup


class ScimEndpoints:
    """Serves ``/v2/Users``, ``/v2/Groups`` and what describes them.

    The caller is a user who holds ``admin.users:manage``; the tenant is theirs.

    Args:
        use_cases: What the endpoints call.
        authenticator: Knows credentials.
        trail: Describes refusals for the audit log.
        log: Takes them.
        ids: Names users and groups whose own names cannot be ids.
    """

    def __init__(
        self,
        use_cases: ScimUseCases,
        authenticator: Authenticator,
        trail: AuditTrail,
        log: AuditLog,
        ids: Ids,
    ) -> None:
        self._do = use_cases
        self._authenticator = authenticator
        self._trail = trail
        self._log = log
        self._ids = ids

    def app(self) -> Starlette:
        """Return the application, to be mounted at ``/scim``."""
        routes = [
            self._route("/v2/Users", GET=self._list_users, POST=self._create_user),
            self._route(
                "/v2/Users/{id}",
                GET=self._get_user,
                PUT=self._replace_user,
                PATCH=self._patch_user,
                DELETE=self._delete_user,
            ),
            self._route("/v2/Groups", GET=self._list_groups, POST=self._create_group),
            self._route(
                "/v2/Groups/{id}",
                GET=self._get_group,
                PUT=self._replace_group,
                PATCH=self._patch_group,
                DELETE=self._delete_group,
            ),
            self._route("/v2/ServiceProviderConfig", GET=self._config),
            self._route("/v2/ResourceTypes", GET=self._resource_types),
            self._route("/v2/Schemas", GET=self._schemas),
        ]
        return Starlette(routes=routes)

    def _route(self, path: str, **methods: Handler) -> Route:
        async def serve(request: Request) -> Response:
            handler = methods["GET" if request.method == "HEAD" else request.method]
            return await self._guarded(request, handler)

        return Route(path, serve, methods=list(methods))

    async def _guarded(self, request: Request, handler: Handler) -> Response:
        try:
            principal = await self._principal(request)
            return await handler(request, principal)
        except (AtriumError, SCIMException, ValidationError) as error:
            status, body = error_body(error)
        except Exception:  # whatever it is, the caller gets SCIM's shape and the log the rest
            _log.exception("scim request failed", method=request.method, path=request.url.path)
            status, body = scim_error(500, "", "Something went wrong here (INTERNAL). Try again.")
        headers = {"www-authenticate": 'Bearer realm="atrium"'} if status == 401 else None
        return Response(body, status, headers, MEDIA_TYPE)

    async def _principal(self, request: Request) -> Principal:
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise CredentialMissing
        principal = await self._authenticator.authenticate(credential.strip(), None)
        if not principal.allow_set.permits(*_PERMISSION):
            action = f"admin.Scim{request.method.title()}"
            event = self._trail.event(
                principal, action, request.url.path, Decision.DENIED, PermissionMissing.reason
            )
            await self._log.append([(principal.tenant, event)])
            raise PermissionMissing(":".join(_PERMISSION))
        return principal

    # Users

    async def _list_users(self, request: Request, principal: Principal) -> Response:
        query, start = _query(request, USERS)
        found = await self._do.find_users(principal, query)
        base = _base(request)
        items = [user_to_scim(user, base) for user in found.items]
        return _page(request, IncomingUser, items, found.total, start)

    async def _get_user(self, request: Request, principal: Principal) -> Response:
        user = await self._do.get_user(principal, user_name(request.path_params["id"]))
        return _resource(request, user_to_scim(user, _base(request)))

    async def _create_user(self, request: Request, principal: Principal) -> Response:
        sent = await _read(request, IncomingUser, Context.RESOURCE_CREATION_REQUEST)
        draft = user_draft(sent)
        wanted = draft.user_name
        user_id = wanted if is_id(wanted) else self._ids.new("u")
        user = await self._do.create_user(principal, user_id, draft)
        return _resource(request, user_to_scim(user, _base(request)), created=True)

    async def _replace_user(self, request: Request, principal: Principal) -> Response:
        sent = await _read(request, IncomingUser, Context.RESOURCE_REPLACEMENT_REQUEST)
        return await self._revise_user(request, principal, lambda _: sent)

    async def _patch_user(self, request: Request, principal: Principal) -> Response:
        patch = await _read_patch(request, IncomingUser)
        base = _base(request)
        return await self._revise_user(
            request, principal, lambda user: _patched(patch, user_to_scim(user, base))
        )

    async def _revise_user(
        self, request: Request, principal: Principal, revision: Callable[[User], Any]
    ) -> Response:
        user = await self._do.update_user.revise(
            principal,
            user_name(request.path_params["id"]),
            lambda before: user_draft(revision(before), before),
            USER_FIELDS,
        )
        return _resource(request, user_to_scim(user, _base(request)))

    async def _delete_user(self, request: Request, principal: Principal) -> Response:
        await self._do.delete_user(principal, user_name(request.path_params["id"]))
        return Response(status_code=204)

    # Groups

    async def _list_groups(self, request: Request, principal: Principal) -> Response:
        query, start = _query(request, GROUPS)
        found = await self._do.find_groups(principal, query)
        base = _base(request)
        items = [group_to_scim(group, base) for group in found.items]
        return _page(request, Group, items, found.total, start)

    async def _get_group(self, request: Request, principal: Principal) -> Response:
        group = await self._do.get_group(principal, group_name(request.path_params["id"]))
        return _resource(request, group_to_scim(group, _base(request)))

    async def _create_group(self, request: Request, principal: Principal) -> Response:
        sent = await _read(request, Group, Context.RESOURCE_CREATION_REQUEST)
        draft = group_draft(sent)
        wanted = draft.display_name
        group_id = wanted if is_id(wanted) else self._ids.new("g")
        group = await self._do.create_group(principal, group_id, draft)
        return _resource(request, group_to_scim(group, _base(request)), created=True)

    async def _replace_group(self, request: Request, principal: Principal) -> Response:
        sent = await _read(request, Group, Context.RESOURCE_REPLACEMENT_REQUEST)
        return await self._revise_group(request, principal, lambda _: group_draft(sent))

    async def _patch_group(self, request: Request, principal: Principal) -> Response:
        patch = await _read_patch(request, Group)
        base = _base(request)
        return await self._revise_group(
            request,
            principal,
            lambda group: group_draft(_patched(patch, group_to_scim(group, base))),
        )

    async def _revise_group(
        self, request: Request, principal: Principal, revision: Callable[[DomainGroup], GroupDraft]
    ) -> Response:
        name = group_name(request.path_params["id"])
        group = await self._do.update_group.revise(principal, name, revision, GROUP_FIELDS)
        return _resource(request, group_to_scim(group, _base(request)))

    async def _delete_group(self, request: Request, principal: Principal) -> Response:
        await self._do.delete_group(principal, group_name(request.path_params["id"]))
        return Response(status_code=204)

    # What describes the endpoints

    async def _config(self, request: Request, _: Principal) -> Response:
        return _resource(request, service_provider_config())

    async def _resource_types(self, request: Request, _: Principal) -> Response:
        found = resource_types()
        return _page(request, type(found[0]), found, len(found), 1)

    async def _schemas(self, request: Request, _: Principal) -> Response:
        found = schemas()
        return _page(request, type(found[0]), found, len(found), 1)


def _base(request: Request) -> str:
    mounted = request.scope.get("root_path", "").rstrip("/")
    return f"{request.url.scheme}://{request.url.netloc}{mounted}/v2"


async def _body(request: Request) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise BodyTooLarge(MOST_BODY_BYTES)
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise BodyMalformed from error
    if not isinstance(found, dict):
        raise BodyMalformed
    return found


async def _read(request: Request, model: Any, context: Context) -> Any:
    body = await _body(request)
    return model.model_validate(body, scim_ctx=context, scim_policy=_TOLERANT)


async def _read_patch(request: Request, model: Any) -> Any:
    body = await _body(request)
    operations = next((body[key] for key in body if key.lower() == "operations"), None)
    if isinstance(operations, list) and len(operations) > MOST_OPERATIONS:
        raise PatchTooLong(len(operations), MOST_OPERATIONS)
    for path in _paths(operations):
        if len(path) > MOST_PATH_CHARACTERS:
            raise PathTooLong(len(path), MOST_PATH_CHARACTERS)
    return PatchOp[model].model_validate(
        body, scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=_PATCHES
    )


def _paths(operations: Any) -> list[str]:
    """Return the paths of operations, which may be anything yet."""
    listed = operations if isinstance(operations, list) else []
    sent = [each for each in listed if isinstance(each, dict)]
    values = [value for each in sent for key, value in each.items() if key.lower() == "path"]
    return [value for value in values if isinstance(value, str)]


def _patched(patch: Any, resource: Any) -> Any:
    patch.patch(resource, scim_policy=_PATCHES)
    return resource


def _query(request: Request, searchable: Searchable) -> tuple[Query, int]:
    """Return what a list request asks for, and the place of its first item, from 1."""
    # RFC 7644, section 3.4.2.4: too small values stand for the smallest.
    start = max(_number(request, "startIndex", 1), 1)
    count = min(max(_number(request, "count", 100), 0), MOST_RESULTS)
    asked = request.query_params
    return Query(
        read_filter(asked.get("filter", ""), searchable),
        read_order(asked.get("sortBy", ""), asked.get("sortOrder", ""), searchable),
        start - 1,
        count,
        _wants(request, "members"),
    ), start


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not _NUMBER.fullmatch(text):
        raise ParameterMalformed(name)
    return int(text)


def _wants(request: Request, name: str) -> bool:
    """Say whether a request wants an attribute that need not be returned."""

    def names(parameter: str) -> set[str]:
        sent = request.query_params.get(parameter, "").lower().split(",")
        return {each.strip().rpartition(":")[2] for each in sent if each.strip()}

    chosen = {each.partition(".")[0] for each in names("attributes")}
    return name not in names("excludedAttributes") and (not chosen or name in chosen)


def _resource(request: Request, resource: Any, *, created: bool = False) -> Response:
    context = Context.RESOURCE_CREATION_RESPONSE if created else Context.RESOURCE_QUERY_RESPONSE
    body = resource.model_dump_json(scim_ctx=context, response_parameters=_chosen(request))
    headers = {"location": str(resource.meta.location)} if created else None
    return Response(body, 201 if created else 200, headers, MEDIA_TYPE)


def _page(request: Request, model: Any, items: Iterable[Any], total: int, start: int) -> Response:
    found = list(items)
    page = ListResponse[model](
        total_results=total, start_index=start, items_per_page=len(found), resources=found
    )
    body = page.model_dump_json(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=_chosen(request)
    )
    return Response(body, 200, None, MEDIA_TYPE)


def _chosen(request: Request) -> Any:
    """Return the attributes that a request wants or does not want (RFC 7644, section 3.9)."""
    names = ("attributes", "excludedAttributes")
    sent = {name: request.query_params[name] for name in names if request.query_params.get(name)}
    return ResponseParameters.model_validate(sent)
