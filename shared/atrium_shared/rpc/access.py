"""Who may call a method, as its proto says (option ``atrium.authz.v1.access``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from atrium.authz.v1 import annotations_pb2


class Access(Enum):
    """Kinds of access rule."""

    PERMISSION = "permission"
    AUTHENTICATED = "authenticated"
    SERVICE = "service"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class AccessRule:
    """Who may call one method.

    Attributes:
        access: Kind of rule.
        permission: ``"knowledge.documents:write"``; for :attr:`Access.PERMISSION` alone.

    Raises:
        ValueError: The permission is missing, superfluous or not written ``"area:action"``.
    """

    access: Access
    permission: str = ""

    def __post_init__(self) -> None:
        area, _, action = self.permission.rpartition(":")
        if (self.access is Access.PERMISSION) != bool(area and action):
            raise ValueError(f"{self.permission!r} is no permission such as 'area:action'.")


AUTHENTICATED = AccessRule(Access.AUTHENTICATED)
ANONYMOUS = AccessRule(Access.ANONYMOUS)
SERVICE = AccessRule(Access.SERVICE)

# These services are not ours, so their protos cannot carry our option.
WELL_KNOWN_ACCESS = {
    "grpc.health.v1.Health": ANONYMOUS,
    "grpc.reflection.v1alpha.ServerReflection": ANONYMOUS,
    "google.longrunning.Operations": AUTHENTICATED,
}


def describe_service(service: str) -> ServiceDescriptor | None:
    """Return the descriptor of a service by its full name, or ``None`` when it has no proto."""
    try:
        return descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        return None


def access_rules(service: str) -> dict[str, AccessRule]:
    """Return the rule of every method that has one, by method name.

    Args:
        service: Full name, ``"atrium.knowledge.v1.KnowledgeService"``.

    Raises:
        ValueError: A rule is malformed.
    """
    descriptor = describe_service(service)
    if descriptor is None:
        return {}
    rules: dict[str, AccessRule] = {}
    for method in descriptor.methods:
        if service in WELL_KNOWN_ACCESS:
            rules[method.name] = WELL_KNOWN_ACCESS[service]
            continue
        options = method.GetOptions()
        access = options.Extensions[annotations_pb2.access]
        match access.WhichOneof("rule"):
            case "permission":
                rules[method.name] = AccessRule(Access.PERMISSION, access.permission)
            case "authenticated" if access.authenticated:
                rules[method.name] = AUTHENTICATED
            case "service" if access.service:
                rules[method.name] = SERVICE
            case "anonymous" if access.anonymous:
                rules[method.name] = ANONYMOUS
    return rules
