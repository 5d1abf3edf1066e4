"""Every method of every proto says who may call it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest

import atrium
from atrium_shared.rpc.access import (
    ANONYMOUS,
    AUTHENTICATED,
    SERVICE,
    Access,
    AccessRule,
    access_rules,
    describe_service,
)

# Who may call without a permission of their own; a method joins this list on purpose alone.
WITHOUT_PERMISSION = {
    "atrium.admin.v1.AdminService/Bootstrap": SERVICE,
    "atrium.admin.v1.IdentityService/ExchangeCredential": SERVICE,
    "atrium.admin.v1.IdentityService/IssueDelegatedToken": SERVICE,
    "atrium.admin.v1.IdentityService/GetSigningKeys": ANONYMOUS,
    "atrium.admin.v1.IdentityService/WatchPolicies": SERVICE,
    "atrium.admin.v1.IdentityService/AcknowledgePolicies": SERVICE,
    "atrium.admin.v1.IdentityService/AppendAuditEvents": SERVICE,
    "atrium.admin.v1.IdentityService/ListErasedUsers": SERVICE,
    # Which permission it needs depends on what is revoked.
    "atrium.admin.v1.AdminService/Revoke": AUTHENTICATED,
}


def services() -> list[Any]:
    """Return the descriptors of all services that the protos declare."""
    found = []
    for module in pkgutil.walk_packages(atrium.__path__, "atrium."):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            found += file.services_by_name.values()
    return found


def test_the_protos_declare_services() -> None:
    names = {service.full_name for service in services()}
    assert {"atrium.admin.v1.AdminService", "atrium.knowledge.v1.KnowledgeService"} <= names


FOR_AUDITORS = {"atrium.knowledge.v1.KnowledgeService/ExplainAccess"}


@pytest.mark.parametrize("service", services(), ids=lambda service: service.full_name)
def test_every_method_has_an_access_rule(service: Any) -> None:
    rules = access_rules(service.full_name)
    assert rules.keys() == {method.name for method in service.methods}
    area = service.full_name.split(".")[1]
    for name, rule in rules.items():
        full = f"{service.full_name}/{name}"
        if rule.access is Access.PERMISSION:
            # Who may see who can read something is an auditor's question in every service.
            assert rule.permission.startswith(f"{area}.") or full in FOR_AUDITORS, full
        else:
            assert WITHOUT_PERMISSION.get(full) == rule, full


def test_rules_are_read_from_the_protos() -> None:
    rules = access_rules("atrium.knowledge.v1.KnowledgeService")
    assert rules["Ask"] == AccessRule(Access.PERMISSION, "knowledge.answers:ask")


def test_services_of_others_have_fixed_rules() -> None:
    importlib.import_module("google.longrunning.operations_pb2")
    assert set(access_rules("google.longrunning.Operations").values()) == {AUTHENTICATED}


def test_a_service_without_proto_has_no_rules() -> None:
    assert describe_service("made.up.Service") is None
    assert access_rules("made.up.Service") == {}


@pytest.mark.parametrize(
    ("access", "permission"),
    [
        (Access.PERMISSION, ""),
        (Access.PERMISSION, "knowledge"),
        (Access.PERMISSION, ":ask"),
        (Access.ANONYMOUS, "knowledge.answers:ask"),
    ],
)
def test_a_malformed_rule_is_refused(access: Access, permission: str) -> None:
    with pytest.raises(ValueError, match="is no permission"):
        AccessRule(access, permission)
