"""Shows the models of the installation."""

from __future__ import annotations

from atrium_gateway.app.catalog import Catalog, ModelView
from atrium_gateway.app.page import Page, cut_page
from atrium_shared.paging import decode_page_token, page_size
from atrium_shared.principal import Principal


class ListModels:
    """Use case of ``ListModels`` and ``GetModel``.

    Args:
        catalog: The models.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, principal: Principal, size: int, token: str) -> Page[ModelView]:
        """Return a page of models and their states, by name.

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        fingerprint = f"{principal.tenant} ListModels"
        after = decode_page_token(token, fingerprint)
        names = [name for name in self._catalog.names(principal.tenant) if name > after]
        page = cut_page(names, page_size(size), lambda name: name, fingerprint)
        views = await self._catalog.views(page.items, principal.tenant)
        return Page(views, page.next_page_token)

    async def get(self, principal: Principal, name: str) -> ModelView:
        """Return one model and its state.

        Raises:
            ModelNotFound: There is no such model.
        """
        return await self._catalog.view(name, principal.tenant)
