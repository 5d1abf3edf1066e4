"""transformers and peft as a process of its own: for generators that no other backend takes.

``python -m atrium_gateway.adapters.peft_worker --model FOLDER``, by a Python that has torch,
transformers and peft (``requirements/train.txt``). It serves the OpenAI HTTP API on 127.0.0.1 and
says where as :mod:`atrium_gateway.adapters.llama_worker` does; adapters come and go as on vLLM
(``/v1/load_lora_adapter``, ``/v1/unload_lora_adapter``) and are called by their names.

peft slows down with every adapter that a model holds. So the model has one slot: the weights of the
adapter that is asked for are copied into it when another one was there before. The weights of the
adapters used last stay in memory. One reply is written at a time; the others wait.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from atrium_gateway.adapters.llama_worker import KEY_VARIABLE, announce, end_with_parent

_SLOT = "slot"
_WEIGHTS = "adapter_model.safetensors"
# What a configuration says of its training does not change which weights fit the slot.
_OF_TRAINING = (
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "revision",
    "task_type",
)


class Refused(Exception):
    """A request that cannot be served.

    Args:
        status: HTTP status.
        code: Error code.
        why: What was wrong, what was expected.
    """

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Asked:
    """What of a chat request decides the reply; ``adapter`` is "" for the base model."""

    adapter: str
    messages: Sequence[Mapping[str, Any]]
    most_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None


class PeftSlot:
    """A model with one slot for adapters. Its methods run in one thread.

    Args:
        folder: The model as transformers saves it, safetensors only.
        threads: Threads of computation.
        keep: Adapters whose weights stay in memory.
        max_rank: Largest rank.
    """

    def __init__(self, folder: Path, *, threads: int, keep: int, max_rank: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        told: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **told)
        base = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **told)
        self._model: Any = base.eval()
        self.name = folder.name
        self.context = int(getattr(base.config, "max_position_embeddings", 0))
        self.folders: dict[str, Path] = {}
        self._keep = keep
        self._max_rank = max_rank
        self._read: OrderedDict[str, tuple[Any, dict[str, Any]]] = OrderedDict()
        self._in_slot: str | None = None
        self._slot_config: dict[str, Any] | None = None

    def load(self, name: str, folder: Path) -> None:
        """Check an adapter, by putting it into the slot, and serve it.

        Raises:
            Refused: It does not fit.
        """
        before = self.folders.get(name)
        self._forget(name)
        self.folders[name] = folder
        try:
            self._activate(name)
        except Refused:
            self._forget(name)
            self.folders.pop(name)
            if before is not None:
                self.folders[name] = before
            raise

    def unload(self, name: str) -> None:
        """Serve an adapter no longer."""
        self.folders.pop(name, None)
        self._forget(name)

    def prompt(self, request: Asked) -> Any:
        """Return the tokens of a request, ``(1, tokens)``.

        Raises:
            Refused: They do not fit the context together with the reply.
        """
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(
                list(request.messages), tokenize=False, add_generation_prompt=True
            )
            tokens = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        else:
            lines = [f"{each['role']}: {each['content']}" for each in request.messages]
            tokens = self.tokenizer("\n".join([*lines, "assistant:"]), return_tensors="pt")
        ids = tokens["input_ids"]
        if self.context and ids.shape[1] + request.most_tokens > self.context:
            raise Refused(
                400,
                "context_length_exceeded",
                f"{ids.shape[1]} tokens of prompt and {request.most_tokens} of reply do not fit "
                f"the context length of {self.context}",
            )
        return ids

    def write(self, request: Asked, ids: Any, streamer: Any, stopped: threading.Event) -> int:
        """Write a reply into ``streamer``; returns its tokens."""
        import torch
        from transformers import StoppingCriteriaList

        sampling: dict[str, Any] = {"do_sample": request.temperature > 0}
        if request.temperature > 0:
            sampling |= {"temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
            torch.manual_seed(request.seed if request.seed is not None else time.time_ns() % 2**63)

        def stop(ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((ids.shape[0],), stopped.is_set(), dtype=torch.bool)

        try:
            with self._with(request.adapter), torch.inference_mode():
                made = self._model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=request.most_tokens,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([stop]),
                    pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
                    **sampling,
                )
        finally:
            streamer.on_finalized_text("", stream_end=True)  # whoever reads must not wait for ever
        return int(made.shape[1] - ids.shape[1])

    @contextmanager
    def _with(self, adapter: str) -> Iterator[None]:
        if adapter:
            self._activate(adapter)
            yield
        elif self._slot_config is None:
            yield
        else:
            with self._model.disable_adapter():
                yield

    def _activate(self, name: str) -> None:
        from peft import PeftModel, set_peft_model_state_dict

        if self._in_slot == name:
            return
        config, weights = self._weights(name)
        told = {key: value for key, value in config.to_dict().items() if key not in _OF_TRAINING}
        self._in_slot = None
        try:
            if self._slot_config is None:
                self._model = PeftModel(self._model, config, adapter_name=_SLOT)
            elif told != self._slot_config:
                self._slot_config = {}  # until the slot has its new shape
                if _SLOT in self._model.peft_config:
                    self._model.delete_adapter(_SLOT)
                self._model.add_adapter(_SLOT, config)
                self._model.set_adapter(_SLOT)
            self._slot_config = told
            found = set_peft_model_state_dict(self._model, weights, adapter_name=_SLOT)
        except (RuntimeError, ValueError, KeyError) as error:
            raise Refused(400, "adapter_invalid", f"it does not fit the model: {error}") from error
        missing = [key for key in found.missing_keys if f".{_SLOT}." in key]
        if missing or found.unexpected_keys:
            which = (missing or found.unexpected_keys)[0]
            what = "lacks" if missing else "has matrices that the model does not know, such as"
            raise Refused(400, "adapter_invalid", f"it {what} {which}")
        self._model.eval()
        self._in_slot = name

    def _weights(self, name: str) -> tuple[Any, dict[str, Any]]:
        if name in self._read:
            self._read.move_to_end(name)
            return self._read[name]
        folder = self.folders.get(name)
        if folder is None:
            raise Refused(404, "model_not_found", f"there is no model {name!r}")
        read = self._read[name] = self._read_files(folder)
        while len(self._read) > self._keep:
            self._read.popitem(last=False)
        return read

    def _read_files(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        import torch
        from peft import LoraConfig, PeftConfig
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            config = PeftConfig.from_pretrained(str(folder))
            weights = load_file(folder / _WEIGHTS)
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            why = f"its files cannot be read ({error})"
            raise Refused(400, "adapter_invalid", why) from error
        if not isinstance(config, LoraConfig):
            raise Refused(400, "adapter_invalid", "it is no LoRA adapter")
        if config.r > self._max_rank:
            why = f"its rank is {config.r}, at most {self._max_rank} is served"
            raise Refused(400, "adapter_invalid", why)
        for name, values in weights.items():
            if not torch.isfinite(values).all():
                raise Refused(400, "adapter_invalid", f"{name} holds values that are no numbers")
        return config, weights

    def _forget(self, name: str) -> None:
        self._read.pop(name, None)
        if self._in_slot == name:
            self._in_slot = None


class _Cut:
    """Holds text back until it cannot be the beginning of a stop string."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._longest = max(map(len, stop), default=0)
        self._held = ""
        self.met = False

    def take(self, text: str, *, last: bool = False) -> str:
        """Return what of the text so far may be shown."""
        if self.met:
            return ""
        self._held += text
        places = [at for each in self._stop if (at := self._held.find(each)) >= 0]
        if places:
            self.met = True
            return self._held[: min(places)]
        keep = 0 if last else max(self._longest - 1, 0)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown


class Api:
    """The OpenAI API over a :class:`PeftSlot`.

    Args:
        slot: The model.
        key: What callers must send; "" asks for none.
    """

    def __init__(self, slot: PeftSlot, key: str) -> None:
        self._slot = slot
        self._key = key
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/health", self._guarded(self._health)),
            Route("/v1/models", self._guarded(self._models)),
            Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
            Route("/v1/load_lora_adapter", self._guarded(self._load), methods=["POST"]),
            Route("/v1/unload_lora_adapter", self._guarded(self._unload), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            try:
                if not hmac.compare_digest(given.encode(), self._key.encode()) and self._key:
                    raise Refused(401, "invalid_api_key", "the key is missing or wrong")
                made: Response = await answer(request)
                return made
            except Refused as refused:
                error = {"message": str(refused), "code": refused.code, "type": "invalid_request"}
                return JSONResponse({"error": error}, refused.status)

        return guarded

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _models(self, _: Request) -> Response:
        names = [self._slot.name, *self._slot.folders]
        return JSONResponse({"object": "list", "data": [_model(name) for name in names]})

    async def _load(self, request: Request) -> Response:
        body = await _body(request)
        name, path = body.get("lora_name"), body.get("lora_path")
        if not isinstance(name, str) or not name or not isinstance(path, str):
            raise Refused(400, "invalid_request", "lora_name and lora_path are needed")
        if name == self._slot.name:
            raise Refused(400, "invalid_request", f"{name!r} is the base model")
        await self._in_thread(self._slot.load, name, Path(path))
        return JSONResponse({"loaded": name})

    async def _unload(self, request: Request) -> Response:
        name = (await _body(request)).get("lora_name")
        if name not in self._slot.folders:
            raise Refused(404, "model_not_found", f"there is no adapter {name!r}")
        await self._in_thread(self._slot.unload, name)
        return JSONResponse({"unloaded": name})

    async def _chat(self, request: Request) -> Response:
        body = await _body(request)
        asked = self._asked(body)
        ids = await self._in_thread(self._slot.prompt, asked)
        model = asked.adapter or self._slot.name
        told = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": model}
        parts = self._parts(asked, ids)
        if body.get("stream"):
            return StreamingResponse(_events(parts, told), media_type="text/event-stream")
        text = ""
        end: dict[str, Any] = {}
        async for part in parts:
            if isinstance(part, str):
                text += part
            else:
                end = part
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": end["reason"],
        }
        whole = {"object": "chat.completion", "choices": [choice], "usage": end["usage"]}
        return JSONResponse({**told, **whole})

    async def _parts(self, asked: Asked, ids: Any) -> AsyncGenerator[Any, None]:
        """Give the texts of a reply, then how it ended. Closing it stops the model."""
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(
            self._slot.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        stopped, cut = threading.Event(), _Cut(asked.stop)
        writing = asyncio.ensure_future(
            self._in_thread(self._slot.write, asked, ids, streamer, stopped)
        )
        # Whoever left in the middle does not come back for its error.
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            while (text := await asyncio.to_thread(_next_text, streamer)) is not None:
                if shown := cut.take(text):
                    yield shown
                if cut.met:
                    stopped.set()
            tokens = await writing
            if rest := cut.take("", last=True):
                yield rest
        finally:
            stopped.set()
        cut_short = tokens >= asked.most_tokens and not cut.met
        prompt = int(ids.shape[1])
        yield {
            "reason": "length" if cut_short else "stop",
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": tokens,
                "total_tokens": prompt + tokens,
            },
        }

    def _asked(self, body: Mapping[str, Any]) -> Asked:
        model, messages = body.get("model", self._slot.name), body.get("messages")
        if model != self._slot.name and model not in self._slot.folders:
            raise Refused(404, "model_not_found", f"there is no model {model!r}")
        if body.get("response_format") or body.get("tools"):
            why = "this server follows no response_format (schema) and knows no tools"
            raise Refused(400, "unsupported", why)
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            raise Refused(400, "invalid_request", "messages with role and text are needed")
        stop = body.get("stop") or []
        try:
            return Asked(
                adapter="" if model == self._slot.name else str(model),
                messages=messages,
                most_tokens=max(1, int(body.get("max_tokens") or 256)),
                temperature=float(body.get("temperature", 1.0)),
                top_p=float(body.get("top_p") or 1.0),
                stop=(stop,) if isinstance(stop, str) else tuple(map(str, stop)),
                seed=None if body.get("seed") is None else int(body["seed"]),
            )
        except (TypeError, ValueError) as error:
            raise Refused(400, "invalid_request", str(error)) from error


def _next_text(streamer: Iterator[str]) -> str | None:
    return next(streamer, None)


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    )


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise Refused(400, "invalid_request", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise Refused(400, "invalid_request", "the body is not a JSON object")
    return body


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "atrium"}


async def _events(parts: AsyncGenerator[Any, None], told: Mapping[str, Any]) -> AsyncIterator[str]:
    def event(**fields: Any) -> str:
        chunk = {**told, "object": "chat.completion.chunk", **fields}
        return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"

    async with aclosing(parts):  # the model stops when the caller leaves
        async for part in parts:
            if isinstance(part, str):
                choice = {"index": 0, "delta": {"content": part}, "finish_reason": None}
                yield event(choices=[choice])
            else:
                choice = {"index": 0, "delta": {}, "finish_reason": part["reason"]}
                yield event(choices=[choice], usage=part["usage"])
    yield "data: [DONE]\n\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Serve one transformers model, and adapters of it."
    )
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--keep", type=int, default=64, help="adapters whose weights stay in memory"
    )
    parser.add_argument("--max-rank", type=int, default=64)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until standard input closes."""
    import uvicorn

    options = _parser().parse_args(arguments)
    end_with_parent()
    output = os.dup(1)
    os.dup2(2, 1)  # What libraries print belongs with the log.
    slot = PeftSlot(
        options.model, threads=options.threads, keep=options.keep, max_rank=options.max_rank
    )
    api = Api(slot, os.environ.pop(KEY_VARIABLE, ""))
    listening = socket.create_server(("127.0.0.1", options.port))
    announce(f"http://127.0.0.1:{listening.getsockname()[1]}", output)
    server = uvicorn.Server(uvicorn.Config(api.app(), log_level="warning", access_log=False))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
