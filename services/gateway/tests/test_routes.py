from __future__ import annotations

import pytest

from atrium_gateway.domain.models import Capability
from atrium_gateway.domain.routes import Candidate, Route, RouteOrigin, RouteTable

GENERATES = frozenset({Capability.GENERATE})
ENCODES = frozenset({Capability.EMBED, Capability.RERANK, Capability.CLASSIFY})
MODELS = {
    "models/big": GENERATES,
    "models/small": GENERATES,
    "models/e5": ENCODES,
    "models/ranker": frozenset({Capability.RERANK}),
}


def route(task: str, *models: str, origin: RouteOrigin = RouteOrigin.FILE) -> Route:
    candidates = [Candidate(m.rstrip("?"), optional=m.endswith("?")) for m in models]
    return Route(task, tuple(candidates), origin)


def resolve(table: RouteTable, task: str, capability: Capability) -> tuple[str, list[str]] | None:
    found = table.resolve(task, capability, lambda candidate: MODELS.get(candidate.model))
    return found and (found.task, [candidate.model for candidate in found.candidates])


OPERATOR = [
    route("default", "models/small"),
    route("embed", "models/e5"),
    route("knowledge", "models/big", "models/small"),
]


@pytest.mark.parametrize(
    ("task", "capability", "expected"),
    [
        ("docs.continue", Capability.GENERATE, ("default", ["models/small"])),
        ("knowledge", Capability.GENERATE, ("knowledge", ["models/big", "models/small"])),
        ("knowledge.answer.zh", Capability.GENERATE, ("knowledge", ["models/big", "models/small"])),
        ("knowledgeable", Capability.GENERATE, ("default", ["models/small"])),
        ("knowledge.embed", Capability.EMBED, ("embed", ["models/e5"])),
        ("knowledge.rerank", Capability.RERANK, ("embed", ["models/e5"])),
        ("anything", Capability.CLASSIFY, ("embed", ["models/e5"])),
    ],
)
def test_the_most_specific_route_with_a_capable_model_wins(
    task: str, capability: Capability, expected: tuple[str, list[str]]
) -> None:
    assert resolve(RouteTable(OPERATOR), task, capability) == expected


def test_a_route_of_the_kind_itself_comes_before_that_of_embed() -> None:
    table = RouteTable([*OPERATOR, route("rerank", "models/ranker")])
    assert resolve(table, "x", Capability.RERANK) == ("rerank", ["models/ranker"])


def test_a_tenants_route_hides_the_operators_of_the_same_name_only() -> None:
    own = route("knowledge", "models/small", origin=RouteOrigin.TENANT)
    table = RouteTable(OPERATOR, [own])
    assert resolve(table, "knowledge.answer", Capability.GENERATE) == (
        "knowledge",
        ["models/small"],
    )
    assert [(each.name, each.origin) for each in table.routes()] == [
        ("routes/default", RouteOrigin.FILE),
        ("routes/embed", RouteOrigin.FILE),
        ("routes/knowledge", RouteOrigin.TENANT),
    ]


def test_candidates_that_cannot_do_it_are_left_out() -> None:
    table = RouteTable([route("default", "models/e5", "models/big")])
    assert resolve(table, "x", Capability.GENERATE) == ("default", ["models/big"])


def test_a_route_whose_models_are_gone_does_not_fall_to_a_wider_one() -> None:
    table = RouteTable([*OPERATOR, route("secret", "models/private")])
    assert resolve(table, "secret.plan", Capability.GENERATE) == ("secret", ["models/private"])


def test_optional_candidates_that_are_not_there_are_passed_over() -> None:
    table = RouteTable([route("default", "models/remote?", "models/small")])
    assert resolve(table, "x", Capability.GENERATE) == ("default", ["models/small"])
    table = RouteTable([route("x", "models/remote?"), route("default", "models/small")])
    assert resolve(table, "x", Capability.GENERATE) == ("default", ["models/small"])


def test_nothing_is_found_where_no_route_leads_to_a_capable_model() -> None:
    assert resolve(RouteTable([route("default", "models/e5")]), "x", Capability.GENERATE) is None
