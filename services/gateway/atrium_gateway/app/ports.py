"""What the use cases need from the outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atrium_gateway.app.caller import Caller
from atrium_gateway.domain.generation import (
    CacheMode,
    Completed,
    Delta,
    Finished,
    Generated,
    Prompt,
    ToolCallDelta,
)
from atrium_gateway.domain.models import Model, ModelStatus
from atrium_gateway.domain.outcomes import Generation, Outcome, OutcomeCount
from atrium_gateway.domain.quotas import Allotment, Charged, LeaseAsk, Quota
from atrium_gateway.domain.reading import PassageReading, ReadPassage, Relation
from atrium_gateway.domain.routes import Route
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_gateway.domain.usage import UsageCount, UsageKey, UsageRecord
from atrium_gateway.domain.web_pages import WebPage


class TextKind(StrEnum):
    """Which side of a comparison a text is on; e5-like encoders mark the two differently."""

    QUERY = "query"
    PASSAGE = "passage"


@dataclass(frozen=True, slots=True)
class Embedding:
    """Sentence vectors.

    Attributes:
        vectors: float32, shape (texts, dimensions); each row has length 1.
        tokens: Tokens that the encoder read.
        truncated: Whether each text was cut to the encoder's window.
    """

    vectors: NDArray[np.float32]
    tokens: int
    truncated: Sequence[bool]


class Backend(Protocol):
    """Something that runs a model."""

    async def status(self) -> ModelStatus:
        """Return whether the model can be used now, and otherwise why not and what to do."""


class GeneratorBackend(Backend, Protocol):
    """Something that writes text: one streaming method."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply: its parts as they come, then exactly one :class:`Finished`.

        Calls of tools count from 0 without gaps, and the first part of each has its id and name;
        whether they fit the request is for the caller to check.

        ``prompt.max_tokens`` is set. Closing the iterator stops the model.

        Raises:
            ModelUnavailable: The model cannot be used now.
            UpstreamFailed: Its server failed.
            UpstreamTimedOut: Its server hangs.
            PromptTooLong: Prompt and reply do not fit its context.
            SchemaUnsupported: It cannot follow the schema, or did not.
            ToolsUnsupported: It takes no tools.
        """


class CompletingBackend(Protocol):
    """A generator that can also give a reply in one piece, which costs less than a stream."""

    async def complete(self, prompt: Prompt) -> Completed:
        """Write a reply and return it whole. Cancelling stops the model.

        Raises:
            AtriumError: As ``GeneratorBackend.stream`` does.
        """


class EncoderBackend(Backend, Protocol):
    """Something that makes sentence vectors."""

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text, in order.

        Raises:
            ModelUnavailable: The model cannot be used now.
            UpstreamFailed: Its server failed.
            UpstreamTimedOut: Its server hangs.
        """


@dataclass(frozen=True, slots=True)
class Classification:
    """What a trained classifier says of texts.

    Attributes:
        labels: What it tells apart.
        scores: float32, shape (texts, labels); 0 to 1, each row adds up to 1.
        tokens: Tokens that it read.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    tokens: int


@runtime_checkable
class ClassifierBackend(EncoderBackend, Protocol):
    """An encoder that may also have been trained to tell labels apart."""

    async def labels(self) -> tuple[str, ...]:
        """Return what it tells apart; empty when it was not trained for that.

        Raises:
            ModelUnavailable: The model cannot be used now.
        """

    async def classify(self, texts: Sequence[str]) -> Classification:
        """Return how well each label fits each text.

        Raises:
            ModelUnavailable: The model cannot be used now.
            EncoderQueueFull: Too much waits for it already.
        """


@dataclass(frozen=True, slots=True)
class Relevance:
    """How well texts answer a query.

    Attributes:
        scores: One a text, in order; higher is better, comparable within one reply.
        tokens: Tokens that the model read, the query once for every text.
    """

    scores: Sequence[float]
    tokens: int


class RerankerBackend(Backend, Protocol):
    """Something that reads a query together with each text."""

    async def rerank(self, query: str, texts: Sequence[str]) -> Relevance:
        """Return one score a text, in order.

        Raises:
            UpstreamFailed: Its server failed.
            UpstreamTimedOut: Its server hangs.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """A question read with passages.

    Attributes:
        passages: One reading a passage, in order.
        tokens: Tokens that the model read, the question once for every passage.
    """

    passages: Sequence[PassageReading]
    tokens: int


class ReaderBackend(Backend, Protocol):
    """Something that reads a question together with passages."""

    async def read(
        self, question: str, passages: Sequence[ReadPassage], relation: Relation, scope: str
    ) -> Reading:
        """Return one reading a passage, in order; each depends on its own pair alone.

        Args:
            question: The question, or the statement.
            passages: What is read with it.
            relation: What is looked for.
            scope: For whom; nothing that is kept of a passage serves another scope.

        Raises:
            ModelUnavailable: The model cannot be used now.
            EncoderQueueFull: Too much waits for it already.
        """


class Reservation(Protocol):
    """Tokens set aside for one attempt of a call."""

    def settle(self, tokens: int) -> int:
        """Say what was used and give the rest back; 0 when nothing was. Only the first one counts.

        It neither waits nor fails: whoever cancels a call runs it, too.
        """


class Budgets(Protocol):
    """What callers may still use."""

    async def reserve(self, caller: Caller, tokens: int, requests: int = 1) -> Reservation:
        """Set aside a request and the most tokens that an attempt can cost, or nothing at all.

        Args:
            caller: Whose call; the tenant, the credential and the task have quotas.
            tokens: Prompt at its longest and ``max_tokens``.
            requests: 0 where an attempt before of the same call was counted.

        Raises:
            QuotaExhausted: They are not left.
            Unavailable: That cannot be told now; nothing was set aside.
        """


class Restorer(Protocol):
    """Puts back what was replaced, in a text that comes in parts cut anywhere."""

    def feed(self, part: str) -> str:
        """Return what of the text so far can be shown and was not returned before."""

    def end(self) -> str:
        """Return the rest."""


class Restoration(Protocol):
    """What was replaced in a prompt."""

    @property
    def values(self) -> int:
        """How many different values were replaced."""

    def restorer(self, *, in_json: bool) -> Restorer:
        """Return a restorer for one text.

        Args:
            in_json: Whether the text is JSON, where values stand escaped inside of strings.
        """


@dataclass(frozen=True, slots=True)
class Cleared:
    """A prompt that may be sent to one model. Only a ``ResidencyGuard`` makes them.

    Attributes:
        model: Resource name of the model that it is meant for.
        prompt: What may be sent.
        restoration: What was replaced in it; None: nothing.
    """

    model: str
    prompt: Prompt
    restoration: Restoration | None = None


@dataclass(frozen=True, slots=True)
class ClearedTexts:
    """Texts that may be sent to one model, in order. Only a ``ResidencyGuard`` makes them."""

    model: str
    texts: Sequence[str]


class ResidencyGuard(Protocol):
    """Decides what may be sent to a model, and in which words."""

    async def clear(self, caller: Caller, model: Model, prompt: Prompt) -> Cleared:
        """Return what of a prompt may be sent.

        Raises:
            ResidencyForbids: Nothing of it.
        """

    async def clear_texts(self, caller: Caller, model: Model, texts: Sequence[str]) -> ClearedTexts:
        """Return what of texts to encode may be sent; what comes back has no words to restore.

        Raises:
            ResidencyForbids: Nothing of them.
        """


class ReplyCache(Protocol):
    """Replies kept for callers who ask the same again.

    Kept apart by tenant, permissions of the asker, task, and model with its version.
    """

    async def find(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode
    ) -> Generated | None:
        """Return the kept reply, marked ``cached`` and with empty usage, or None.

        Args:
            caller: Who asks and what for.
            model: First choice of the route for this call.
            prompt: What is asked.
            mode: ``EXACT`` or ``SEMANTIC``.
        """

    async def keep(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode, reply: Generated
    ) -> None:
        """Keep a reply that ``model`` made and nothing degraded."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a JSON text breaks its schema.

    Attributes:
        path: Place in the text as a JSON pointer (RFC 6901); "" is the whole of it.
        why: What is wrong there, without what stands there: it may come from a document.
    """

    path: str
    why: str


class PageReader(Protocol):
    """Fetches pages of the web from the hosts that the operator allows."""

    async def read(self, address: str) -> WebPage:
        """Return the text of a page.

        Raises:
            WebPageForbidden: Its host is not allowed, or is not in the public Internet.
            WebPageUnreachable: It did not come.
            WebPageUnreadable: It holds no text that can be read.
            WebPageTooLarge: It is too large.
        """


class ReplySchema(Protocol):
    """A JSON schema, ready to check replies and the arguments of tools."""

    @property
    def characters(self) -> int:
        """Its length as JSON."""

    def mismatch(self, reply: str) -> str:
        """Return why ``reply`` does not follow the schema, or "" when it does."""

    def fault(self, arguments: str) -> Fault | None:
        """Return where a tool's arguments do not follow the schema, or None when they do.

        Stricter than :meth:`mismatch` about the text itself: what different readers of JSON would
        read differently (a key twice, ``NaN``) is a fault.
        """


class SchemaCompiler(Protocol):
    """Reads JSON schemas."""

    def compile(self, schema: Mapping[str, Any]) -> ReplySchema:
        """Return a schema ready to check replies.

        Raises:
            SchemaUnsupported: It is no schema, is too large, or refers to another document.
        """


class Sandbox(Protocol):
    """Runs programs of calculations."""

    async def run(self, program: str) -> Sequence[Any]:
        """Run a program that :func:`~atrium_gateway.domain.programs.exact` wrote.

        Returns:
            Kind and value of its result; :func:`~atrium_gateway.domain.calculation.show` reads it.

        Raises:
            ProgramFailed: It failed, or went over a limit.
            CalculationQueueFull: Too many run already.
        """


class RouteStore(Protocol):
    """The tenants' own routes."""

    async def list_routes(self, tenant: str) -> list[Route]:
        """Return the routes of a tenant, by name."""

    async def put_route(self, tenant: str, route: Route) -> None:
        """Set a route, replacing the one of the same task."""

    async def delete_route(self, tenant: str, task: str) -> bool:
        """Remove a route. False when there was none."""

    async def stamps(self) -> Mapping[str, int]:
        """Return a number for each tenant that ever set a route; every change gives a new one."""


@dataclass(frozen=True, slots=True)
class UsageCursor:
    """Sort key of a usage record: newest day first, then task, model and credential."""

    day: date
    task: str
    model: str
    credential: str


class UsageStore(Protocol):
    """Usage by tenant, day, task and model."""

    async def add(self, counts: Mapping[UsageKey, UsageCount]) -> None:
        """Add to what is stored, all of it or nothing."""

    async def list_records(
        self, tenant: str, start: date, end: date, after: UsageCursor | None, limit: int
    ) -> list[UsageRecord]:
        """Return records of the days ``start`` to ``end``, both included, newest day first.

        Args:
            tenant: Whose records.
            start: First day.
            end: Last day.
            after: Where the page before ended, or None for the first page.
            limit: Most records to return.
        """

    async def sum_by_model(
        self, tenant: str, start: date, end: date
    ) -> Mapping[tuple[str, str], UsageCount]:
        """Return the sums over the days ``start`` to ``end``, both included.

        Returns:
            By task and model; only those that were asked.
        """


class OutcomeStore(Protocol):
    """What became of replies."""

    async def put(self, tenant: str, generation: Generation, outcome: Outcome) -> None:
        """Keep what became of a reply, in place of what was told of it before."""

    async def count_by_model(
        self, tenant: str, start: date, end: date
    ) -> Mapping[tuple[str, str], OutcomeCount]:
        """Count the replies of the days ``start`` to ``end``, both included.

        Returns:
            By task and model; only those with an outcome.
        """


class QuotaStore(Protocol):
    """The tenants' own quotas."""

    async def list_quotas(self, tenants: Collection[str]) -> Mapping[str, Sequence[Quota]]:
        """Return the quotas of these tenants, by name; a tenant without any may be missing."""

    async def put_quota(self, tenant: str, quota: Quota) -> None:
        """Set a quota, replacing the one of the same name."""

    async def delete_quota(self, tenant: str, name: str) -> bool:
        """Remove a quota. False when there was none."""


class QuotaLedgers(Protocol):
    """What is used of every budget, durable and shared by all processes.

    A budget is known by the key of its ledger. Each process holds a :class:`Lease` of the budgets
    that it uses. All methods raise ``DatabaseUnavailable`` when the store does not answer; then
    it is not known whether what was asked has been done.
    """

    async def join(self, process: str) -> None:
        """Make a process known, which must not be."""

    async def exchange(self, process: str, asks: Sequence[LeaseAsk]) -> Sequence[Allotment]:
        """Show that a process is alive, and change its leases.

        Args:
            process: A process that has joined.
            asks: Each of another budget.

        Returns:
            One answer an ask, in order.

        Raises:
            ProcessForgotten: Others took the process for dead, and took its leases.
        """

    async def leave(self, process: str) -> None:
        """Forget a process that lives; like a dead one's, its marks stay charged."""

    async def processes(self) -> Mapping[str, int]:
        """Return every process with a number that changes while it lives."""

    async def bury(self, process: str, beat: int) -> bool:
        """Charge a dead process its marks, and give the rest of its leases back.

        Args:
            process: The process.
            beat: Its number. False when it has changed since: the process lives.
        """

    async def used(self, ledgers: Collection[str]) -> Mapping[str, Charged]:
        """Return what is used of these budgets; one that nobody used is missing."""

    async def forget_windows(self, before: datetime) -> None:
        """Remove the ledgers of windows that ended before a moment."""
