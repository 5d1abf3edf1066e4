"""Tenants: the boundary that no data crosses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from atrium_shared.principal import Residency, TenantQuota


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
        residency: Where its texts may go.
        quotas: What the operator allows it to use, at most one for each unit and window.
    """

    id: str
    display_name: str
    create_time: datetime
    max_upload_bytes: int = 0
    operator: bool = False
    policy_version: int = 0
    residency: Residency = Residency.PRIVATE_ONLY
    quotas: tuple[TenantQuota, ...] = ()
