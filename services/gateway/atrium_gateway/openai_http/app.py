"""The endpoints: each parses, calls the use cases that gRPC calls too, and converts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.embed_texts import EmbedTexts
from atrium_gateway.app.find_tasks import FindTasks
from atrium_gateway.app.generate_text import GenerateText
from atrium_gateway.domain.generation import Generated, Prompt
from atrium_gateway.openai_http import replies
from atrium_gateway.openai_http.errors import (
    ParameterInvalid,
    PathUnknown,
    TaskUnknown,
    error_body,
    retry_after,
    status_of,
)
from atrium_gateway.openai_http.exchange import Exchange
from atrium_gateway.openai_http.requests import ChatRequest, EmbeddingsRequest, read_body
from atrium_shared.clock import Clock
from atrium_shared.identity import is_internal_token
from atrium_shared.principal import Principal
from atrium_shared.rpc.context import trace_id
from atrium_shared.rpc.interceptors import HttpCall, Interceptors

MOST_BODY_BYTES = 12 * 1024 * 1024

_SERVICE = "atrium.gateway.v1.OpenAI"
_PERMISSION = "gateway.models:use"
_MODELS = "/models/"


@dataclass(frozen=True)
class OpenAIUseCases:
    """What the endpoints call."""

    generate: GenerateText
    embed: EmbedTexts
    tasks: FindTasks


class OpenAIEndpoints:
    """Serves ``/chat/completions``, ``/embeddings`` and ``/models``, below ``/v1``.

    ``model`` is the task. Callers are known by their key, and everything that holds for a gRPC
    call holds here: permission, routes, budgets, audit, an end when a permission is taken back.

    Args:
        use_cases: What the endpoints call.
        chain: Surrounds every request.
        clock: Dates replies.
    """

    def __init__(self, use_cases: OpenAIUseCases, chain: Interceptors, clock: Clock) -> None:
        self._do = use_cases
        self._clock = clock
        self._chat = chain.http(_SERVICE, "ChatCompletions", _PERMISSION)
        self._embed = chain.http(_SERVICE, "Embeddings", _PERMISSION)
        self._list = chain.http(_SERVICE, "Models", _PERMISSION)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        exchange = Exchange(scope, receive, send)
        try:
            surround, endpoint = self._endpoint(exchange)
            async with surround(exchange.headers) as principal:
                await endpoint(exchange, principal)
        except asyncio.CancelledError:
            if not exchange.left:
                raise
            # Nobody is there to be answered; the chain has counted the call as cancelled.
        except Exception as error:  # the chain has logged it; the caller gets OpenAI's shape
            await _fail(exchange, error)

    def _endpoint(
        self, exchange: Exchange
    ) -> tuple[HttpCall, Callable[[Exchange, Principal], Awaitable[None]]]:
        match exchange.method, exchange.path:
            case "POST", "/chat/completions":
                return self._chat, self._complete
            case "POST", "/embeddings":
                return self._embed, self._make_vectors
            case (("GET" | "HEAD"), "/models"):
                return self._list, self._list_models
            case (("GET" | "HEAD"), path) if path.startswith(_MODELS):
                return self._list, self._get_model
        raise PathUnknown(exchange.method, exchange.mount + exchange.path)

    async def _complete(self, exchange: Exchange, principal: Principal) -> None:
        sent = read_body(ChatRequest, await exchange.body(MOST_BODY_BYTES))
        prompt = sent.prompt()
        caller = await self._caller(exchange, principal, sent.model)
        id_, created = f"chatcmpl-{secrets.token_hex(12)}", int(self._clock.now().timestamp())
        async with exchange.while_client_waits():
            if sent.stream:
                chunks = replies.Chunks(
                    id_,
                    created,
                    sent.model,
                    one_call=sent.one_tool_call,
                    include_usage=sent.include_usage,
                )
                await self._stream(exchange, caller, prompt, chunks)
            else:
                generated = await self._do.generate.whole(caller, prompt)
                await exchange.answer(
                    replies.completion(generated, id_, created, one_call=sent.one_tool_call)
                )

    async def _stream(
        self, exchange: Exchange, caller: Caller, prompt: Prompt, chunks: replies.Chunks
    ) -> None:
        async with aclosing(self._do.generate.stream(caller, prompt)) as events:
            async for event in events:
                # Not before: until a model answers, an error still has a status of its own.
                if not exchange.streaming:
                    await exchange.event(chunks.first())
                if isinstance(event, Generated):
                    for chunk in chunks.last(event):
                        await exchange.event(chunk)
                else:
                    part = chunks.part(event)
                    if part is not None:
                        await exchange.event(part)
        await exchange.end(done=True)

    async def _make_vectors(self, exchange: Exchange, principal: Principal) -> None:
        sent = read_body(EmbeddingsRequest, await exchange.body(MOST_BODY_BYTES))
        texts = sent.texts()
        caller = await self._caller(exchange, principal, sent.model)
        async with exchange.while_client_waits():
            embedded = await self._do.embed(caller, texts, sent.kind)
            made = embedded.embedding.vectors.shape[1]
            if sent.dimensions is not None and sent.dimensions != made:
                raise ParameterInvalid("dimensions", f"this model makes {made}; leave it out")
            as_base64 = sent.encoding_format == "base64"
            await exchange.answer(replies.embeddings(embedded, as_base64=as_base64))

    async def _list_models(self, exchange: Exchange, principal: Principal) -> None:
        routes = await self._do.tasks(principal)
        listed = [replies.model(route, principal.tenant) for route in routes]
        await exchange.answer({"object": "list", "data": listed})

    async def _get_model(self, exchange: Exchange, principal: Principal) -> None:
        task = exchange.path.removeprefix(_MODELS)
        route = await self._do.tasks.find(principal, task)
        if route is None:
            raise TaskUnknown(task)
        await exchange.answer({**replies.model(route, principal.tenant), "id": task})

    async def _caller(self, exchange: Exchange, principal: Principal, task: str) -> Caller:
        if await self._do.tasks.find(principal, task) is None:
            raise TaskUnknown(task)
        credential = exchange.headers["authorization"][len("Bearer ") :]
        return Caller(principal, task, outside=not is_internal_token(credential))


async def _fail(exchange: Exchange, error: Exception) -> None:
    body = error_body(error, trace_id())
    if exchange.streaming:
        await exchange.event(body)
        await exchange.end(done=False)
        return
    status, seconds = status_of(error), retry_after(error)
    # A path that nothing serves is answered before there is a call to trace.
    headers = {"x-request-id": trace} if (trace := trace_id()) else {}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="atrium"'
    if seconds is not None:
        headers["retry-after"] = str(seconds)
    await exchange.answer(body, status, headers)
