"""Users and groups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from unicodedata import normalize

from atrium_admin.domain.names import group_name, user_name


class UserKind(StrEnum):
    """What a user is."""

    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody or something that has permissions inside one tenant.

    Attributes:
        id: Such as ``lin``.
        display_name: Name for people.
        kind: Person or service; set once.
        email: Mail address or "".
        roles: Ids of the roles given directly, sorted.
        disabled: Whether the user may do nothing for now.
        create_time: When it was made.
        user_name: Under which they sign in elsewhere; "" stands for the id.
        external_id: Id in the outside directory, or "".
    """

    id: str
    display_name: str
    kind: UserKind
    email: str
    roles: tuple[str, ...]
    disabled: bool
    create_time: datetime
    user_name: str = ""
    external_id: str = ""

    @property
    def name(self) -> str:
        """``users/<id>``."""
        return user_name(self.id)


@dataclass(frozen=True, slots=True)
class UserDraft:
    """What a caller says about a user; see :class:`User`.

    Attributes:
        roles: Names of roles, ``roles/member``.
    """

    display_name: str = ""
    kind: UserKind = UserKind.PERSON
    email: str = ""
    roles: tuple[str, ...] = ()
    disabled: bool = False
    user_name: str = ""
    external_id: str = ""


def text_key(text: str) -> str:
    """Return the form in which names are compared: upper and lower case are alike."""
    return normalize("NFC", normalize("NFC", text).casefold())


@dataclass(frozen=True, slots=True)
class Group:
    """Users who get the same roles.

    Attributes:
        id: Such as ``hr``.
        display_name: Name for people.
        members: Ids of users, sorted.
        roles: Ids of roles, sorted.
        create_time: When it was made.
        external_id: Id in the outside directory, or "".
    """

    id: str
    display_name: str
    members: tuple[str, ...]
    roles: tuple[str, ...]
    create_time: datetime
    external_id: str = ""

    @property
    def name(self) -> str:
        """``groups/<id>``."""
        return group_name(self.id)


@dataclass(frozen=True, slots=True)
class GroupDraft:
    """What a caller says about a group; see :class:`Group`.

    Attributes:
        members: Names of users, ``users/lin``.
        roles: Names of roles, ``roles/member``.
    """

    display_name: str = ""
    members: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class Memberships:
    """Where a user's permissions come from.

    Attributes:
        roles: Ids of the roles given directly.
        groups: Ids of the groups.
    """

    roles: frozenset[str]
    groups: frozenset[str]
