"""SCIM resources to domain values and back."""

from __future__ import annotations

from typing import Annotated, Any

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    ComplexAttribute,
    EnterpriseUser,
    ETag,
    Filter,
    Group,
    GroupMember,
    Meta,
    Patch,
    Required,
    Resource,
    ResourceType,
    Schema,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
    User,
)

from atrium_admin.domain import users as domain
from atrium_admin.domain.errors import FieldInvalid
from atrium_admin.domain.names import user_name

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
_MOST_MEMBERS = 100_000

MOST_RESULTS = 200
"""Resources on one page."""

USER_FIELDS = ("display_name", "email", "disabled", "user_name", "external_id")
"""Fields of a user that SCIM writes. Roles come from groups alone."""

GROUP_FIELDS = ("display_name", "members", "external_id")
"""Fields of a group that SCIM writes. What a group gives is the administrator's to say."""


class PlainEmail(ComplexAttribute):
    """A mail address as it was sent: the library's own takes none of a private network."""

    value: str | None = None
    display: str | None = None
    type: str | None = None
    primary: bool | None = None


class SentUser(User):  # type: ignore[type-arg] # the extension comes below
    """A user as directories send it. What we do not keep is taken and forgotten (RFC 7644, 3.3)."""

    emails: list[PlainEmail] | None = None  # type: ignore[assignment]


IncomingUser: Any = SentUser[EnterpriseUser]  # type: ignore[misc] # generic like its parent
"""With the enterprise extension, of which nothing is kept."""


class KeptUser(Resource[Any]):
    """What is kept of a user, and published as the schema."""

    __schema__ = User.__schema__

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    """Name under which they sign in; unique, upper and lower case alike."""
    display_name: str | None = None
    """Name for people."""
    active: bool | None = None
    """False: they may do nothing for now."""
    emails: list[PlainEmail] | None = None
    """One mail address."""


def user_to_scim(user: domain.User, base: str) -> Any:
    """Return a user as SCIM shows it; ``base`` is the URL of the endpoints."""
    return IncomingUser(
        id=user.id,
        external_id=user.external_id or None,
        user_name=user.user_name or user.id,
        display_name=user.display_name,
        active=not user.disabled,
        emails=[PlainEmail(value=user.email, type="work", primary=True)] if user.email else None,
        meta=Meta(
            resource_type="User", created=user.create_time, location=f"{base}/Users/{user.id}"
        ),
    )


def user_draft(sent: Any, before: domain.User | None = None) -> domain.UserDraft:
    """Return what was sent about a user; ``before`` tells whether they were disabled."""
    name = sent.name
    parts = (name.given_name, name.family_name) if name is not None else ()
    formatted = (name.formatted if name is not None else None) or " ".join(filter(None, parts))
    emails = [each for each in sent.emails or () if each.value]
    primary = next((each for each in emails if each.primary), emails[0] if emails else None)
    # Who leaves `active` out of a replacement does not ask to let a disabled user in again.
    as_before = before is not None and before.disabled
    return domain.UserDraft(
        display_name=_bounded(sent.display_name or formatted, "displayName", 200),
        email=_bounded(primary.value if primary is not None else "", "emails", 320),
        disabled=as_before if sent.active is None else not sent.active,
        user_name=_bounded(sent.user_name, "userName", 256),
        external_id=_bounded(sent.external_id, "externalId", 256),
    )


def group_to_scim(group: domain.Group, base: str) -> Any:
    """Return a group as SCIM shows it; ``base`` is the URL of the endpoints."""
    members = [GroupMember(value=user, type="User", ref=None) for user in group.members]
    return Group(
        id=group.id,
        external_id=group.external_id or None,
        display_name=group.display_name,
        members=members or None,
        meta=Meta(
            resource_type="Group", created=group.create_time, location=f"{base}/Groups/{group.id}"
        ),
    )


def group_draft(sent: Any) -> domain.GroupDraft:
    """Return what was sent about a group."""
    members = dict.fromkeys(each.value or "" for each in sent.members or ())
    if len(members) > _MOST_MEMBERS:
        raise FieldInvalid("members", f"at most {_MOST_MEMBERS:,} users")
    return domain.GroupDraft(
        display_name=_bounded(sent.display_name, "displayName", 200),
        members=tuple(map(user_name, members)),
        external_id=_bounded(sent.external_id, "externalId", 256),
    )


def _bounded(text: str | None, attribute: str, limit: int) -> str:
    """Return a text, "" for none; the protos hold these limits for gRPC.

    Raises:
        FieldInvalid: It is longer than ``limit`` code points.
    """
    if text is not None and len(text) > limit:
        raise FieldInvalid(attribute, f"at most {limit} characters")
    return text or ""


def service_provider_config() -> ServiceProviderConfig:
    """Return what the endpoints can do (RFC 7643, section 5)."""
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MOST_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=False),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="API key",
                description="Authorization: Bearer atr_..., of a user with admin.users:manage",
                primary=True,
            )
        ],
    )


def schemas() -> list[Schema]:
    """Return the schemas of what is kept."""
    return [KeptUser.to_schema(), Group.to_schema()]


def resource_types() -> list[ResourceType]:
    """Return where users and groups are."""
    return [ResourceType.from_resource(User), ResourceType.from_resource(Group)]
