"""A directory that speaks SCIM to the running service."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from .house import House

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def client_for(house: House, key: str | None) -> httpx.AsyncClient:
    app = Starlette(routes=[Mount("/scim", house.app.scim)])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://atrium/scim/v2",
        headers={} if key is None else {"authorization": f"Bearer {key}"},
    )


def failed(response: httpx.Response, status: int, scim_type: str, words: str) -> None:
    body = response.json()
    assert (response.status_code, body["status"]) == (status, str(status))
    assert body["schemas"] == [ERROR]
    assert body.get("scimType", "") == scim_type
    assert words in body["detail"]
    assert "\n" not in body["detail"]
    assert response.headers["content-type"].startswith("application/scim+json")


async def make_user(scim: httpx.AsyncClient, sent: str, **fields: Any) -> dict[str, Any]:
    response = await scim.post("/Users", json={"schemas": [USER], "userName": sent, **fields})
    assert response.status_code == 201, response.text
    return dict(response.json())


async def make_group(scim: httpx.AsyncClient, name: str, *members: str) -> dict[str, Any]:
    body = {
        "schemas": [GROUP],
        "displayName": name,
        "members": [{"value": member} for member in members],
    }
    response = await scim.post("/Groups", json=body)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def patch(scim: httpx.AsyncClient, path: str, *operations: Any) -> httpx.Response:
    return await scim.patch(path, json={"schemas": [PATCH], "Operations": list(operations)})


def members(group: dict[str, Any]) -> list[str]:
    return [member["value"] for member in group.get("members", [])]
