"""Which permission each method of every service asks for, read from the protos."""

from __future__ import annotations

import importlib
import pkgutil

import atrium
from atrium_shared.rpc.access import Access, access_rules


class ProtoMethodPermissions:
    """Implements :class:`~atrium_admin.app.ports.MethodPermissions`."""

    def __init__(self) -> None:
        self._permissions: dict[str, str] = {}

    def of(self, action: str) -> str | None:
        """Return what ``knowledge.Ask`` needs, ``knowledge.answers:ask``; None when unknown."""
        if not self._permissions:
            self._permissions = _read()
        return self._permissions.get(action)


def _read() -> dict[str, str]:
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(atrium.__path__, "atrium."):
        if not module.name.endswith("_pb2"):
            continue
        area = module.name.split(".")[1]
        for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
            for method, rule in access_rules(service.full_name).items():
                if rule.access is Access.PERMISSION:
                    found[f"{area}.{method}"] = rule.permission
    return found
