"""Tenants: the boundary that no data crosses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer.

    Attributes:
        id: Such as ``acme``.
        display_name: Name for people.
        create_time: When it was made.
        max_upload_bytes: Largest upload in bytes; 0 takes the installation's default.
        operator: Whether it may make further tenants. The first tenant is the operator.
        policy_version: Counts the changes of its users, groups and roles.
    """

    id: str
    display_name: str
    create_time: datetime
    max_upload_bytes: int = 0
    operator: bool = False
    policy_version: int = 0
