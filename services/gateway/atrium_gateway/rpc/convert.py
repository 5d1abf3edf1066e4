"""Between protos and the domain."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import numpy as np
from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.message import Message

from atrium.engine.v1 import engine_pb2
from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2
from atrium_gateway.app.catalog import ModelView
from atrium_gateway.app.classify_texts import Classified, Label
from atrium_gateway.app.embed_texts import Embedded
from atrium_gateway.app.page import Page
from atrium_gateway.app.ports import TextKind
from atrium_gateway.app.read_passages import PassagesRead
from atrium_gateway.app.rerank_texts import Reranked
from atrium_gateway.domain.generation import (
    ChatMessage,
    Delta,
    FinishReason,
    Generated,
    Prompt,
    Role,
)
from atrium_gateway.domain.models import Capability, Engine, EngineKind, ModelState
from atrium_gateway.domain.reading import ReadPassage, Segment
from atrium_gateway.domain.routes import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TIMEOUT_SECONDS,
    ROUTE_PREFIX,
    Candidate,
    Route,
    RouteOrigin,
)
from atrium_gateway.domain.usage import Usage, UsageRecord
from atrium_shared.rpc.status import FieldInvalid

_ROLES = {
    gateway_pb2.Message.SYSTEM: Role.SYSTEM,
    gateway_pb2.Message.USER: Role.USER,
    gateway_pb2.Message.ASSISTANT: Role.ASSISTANT,
}
_KINDS = {
    gateway_pb2.EmbedRequest.QUERY: TextKind.QUERY,
    gateway_pb2.EmbedRequest.PASSAGE: TextKind.PASSAGE,
}
_REASONS = {
    FinishReason.STOP: gateway_pb2.GenerateResponse.STOP,
    FinishReason.LENGTH: gateway_pb2.GenerateResponse.LENGTH,
    FinishReason.FILTERED: gateway_pb2.GenerateResponse.FILTERED,
}
_ENGINES = {
    EngineKind.GENERATIVE: engine_pb2.Engine.GENERATIVE,
    EngineKind.ENCODER: engine_pb2.Engine.ENCODER,
    EngineKind.RULES: engine_pb2.Engine.RULES,
}
_CAPABILITIES = {
    Capability.GENERATE: gateway_pb2.Model.GENERATE,
    Capability.EMBED: gateway_pb2.Model.EMBED,
    Capability.RERANK: gateway_pb2.Model.RERANK,
    Capability.CLASSIFY: gateway_pb2.Model.CLASSIFY,
    Capability.READ: gateway_pb2.Model.READ,
}
_STATES = {
    ModelState.READY: gateway_pb2.Model.READY,
    ModelState.STARTING: gateway_pb2.Model.STARTING,
    ModelState.UNAVAILABLE: gateway_pb2.Model.UNAVAILABLE,
}
_ORIGINS = {
    RouteOrigin.FILE: gateway_pb2.Route.FILE,
    RouteOrigin.TENANT: gateway_pb2.Route.TENANT,
}


def prompt_from_proto(request: gateway_pb2.GenerateRequest) -> Prompt:
    """Return what a generator is asked."""
    return Prompt(
        messages=tuple(
            ChatMessage(_ROLES[message.role], message.content) for message in request.messages
        ),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        response_schema=(
            schema_from_proto(request.response_schema)
            if request.HasField("response_schema")
            else None
        ),
        stop=tuple(request.stop),
        seed=request.seed if request.HasField("seed") else None,
    )


def schema_from_proto(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return a JSON schema.

    A Struct forgets the order of keys, and models write properties in the schema's order: those
    named in ``required`` come first, in its order, then the others by name. Whole numbers become
    integers again.
    """
    ordered = _ordered({key: _value(value) for key, value in struct.fields.items()})
    assert isinstance(ordered, dict)
    return ordered


def _value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return {key: _value(each) for key, each in value.struct_value.fields.items()}
        case "list_value":
            return [_value(each) for each in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _ordered(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_ordered(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = {key: _ordered(schema[key]) for key in sorted(schema)}
    properties, required = schema.get("properties"), schema.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        first = [name for name in required if isinstance(name, str) and name in properties]
        rest = sorted(properties.keys() - set(first))
        ordered["properties"] = {name: _ordered(properties[name]) for name in (*first, *rest)}
    return ordered


def kind_from_proto(kind: gateway_pb2.EmbedRequest.Kind.ValueType) -> TextKind:
    """Return which side of a comparison texts are on."""
    return _KINDS[kind]


def labels_from_proto(request: gateway_pb2.ClassifyRequest) -> list[Label]:
    """Return the labels of a request."""
    return [Label(label.id, label.description, tuple(label.examples)) for label in request.labels]


def passages_from_proto(request: gateway_pb2.ReadRequest) -> list[ReadPassage]:
    """Return the passages to read."""
    return [
        ReadPassage(
            passage.heading,
            passage.text,
            tuple(Segment(segment.start, segment.end) for segment in passage.segments),
        )
        for passage in request.passages
    ]


def route_from_proto(route: gateway_pb2.Route) -> Route:
    """Return a route of a tenant; zeros take the defaults."""
    return Route(
        route.name.removeprefix(ROUTE_PREFIX),
        tuple(
            Candidate(
                candidate.model,
                candidate.timeout_seconds or DEFAULT_TIMEOUT_SECONDS,
                candidate.max_tokens or DEFAULT_MAX_TOKENS,
            )
            for candidate in route.candidates
        ),
        RouteOrigin.TENANT,
    )


def time_from_proto(request: Message, field: str) -> datetime | None:
    """Return a timestamp of a request in UTC, or None when it is absent.

    Raises:
        FieldInvalid: It lies outside the years 1 to 9999.
    """
    if not request.HasField(field):
        return None
    try:
        moment: datetime = getattr(request, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise FieldInvalid([(field, "expected a moment of the years 1 to 9999")]) from error
    return moment


def engine_to_proto(engine: Engine) -> engine_pb2.Engine:
    """Return an engine."""
    return engine_pb2.Engine(
        kind=_ENGINES[engine.kind],
        backend=engine.backend,
        model=engine.model,
        degraded=engine.degraded,
        degraded_reason=engine.degraded_reason,
    )


def usage_to_proto(usage: Usage) -> engine_pb2.Usage:
    """Return usage."""
    return engine_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        encoder_tokens=usage.encoder_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
    )


def generated_to_proto(generated: Generated) -> gateway_pb2.GenerateResponse:
    """Return a whole reply."""
    return gateway_pb2.GenerateResponse(
        text=generated.text,
        finish_reason=_REASONS[generated.reason],
        engine=engine_to_proto(generated.engine),
        usage=usage_to_proto(generated.usage),
    )


def event_to_proto(event: Delta | Generated) -> gateway_pb2.StreamGenerateResponse:
    """Return a part of a reply."""
    if isinstance(event, Delta):
        return gateway_pb2.StreamGenerateResponse(delta=event.text)
    return gateway_pb2.StreamGenerateResponse(done=generated_to_proto(event))


def embedded_to_proto(embedded: Embedded) -> gateway_pb2.EmbedResponse:
    """Return vectors, as they lie in memory."""
    vectors = np.ascontiguousarray(embedded.embedding.vectors, "<f4")
    return gateway_pb2.EmbedResponse(
        vectors=vectors.tobytes(),
        dimensions=vectors.shape[1],
        truncated=embedded.embedding.truncated,
        engine=engine_to_proto(embedded.engine),
        usage=usage_to_proto(embedded.usage),
    )


def reranked_to_proto(reranked: Reranked) -> gateway_pb2.RerankResponse:
    """Return texts in order."""
    return gateway_pb2.RerankResponse(
        results=[
            gateway_pb2.RerankResponse.Result(index=result.index, score=result.score)
            for result in reranked.results
        ],
        engine=engine_to_proto(reranked.engine),
        usage=usage_to_proto(reranked.usage),
    )


def classified_to_proto(classified: Classified) -> gateway_pb2.ClassifyResponse:
    """Return the classes of texts."""
    return gateway_pb2.ClassifyResponse(
        results=[
            gateway_pb2.ClassifyResponse.Result(
                scores=[
                    gateway_pb2.ClassifyResponse.Score(label=score.label, score=score.score)
                    for score in scores
                ]
            )
            for scores in classified.results
        ],
        engine=engine_to_proto(classified.engine),
        usage=usage_to_proto(classified.usage),
    )


def passages_read_to_proto(read: PassagesRead) -> gateway_pb2.ReadResponse:
    """Return the readings of passages."""
    return gateway_pb2.ReadResponse(
        passages=[
            gateway_pb2.PassageReading(
                segment_scores=passage.segment_scores,
                score=passage.score,
                truncated=passage.truncated,
            )
            for passage in read.reading.passages
        ],
        engine=engine_to_proto(read.engine),
        usage=usage_to_proto(read.usage),
    )


def model_to_proto(view: ModelView) -> gateway_pb2.Model:
    """Return a model and its state."""
    model = view.model
    return gateway_pb2.Model(
        name=model.name,
        backend=model.backend,
        capabilities=sorted(_CAPABILITIES[capability] for capability in model.capabilities),
        state=_STATES[view.status.state],
        context_tokens=model.context_tokens,
        state_reason=view.status.reason,
    )


def models_to_proto(page: Page[ModelView]) -> gateway_service_pb2.ListModelsResponse:
    """Return a page of models."""
    return gateway_service_pb2.ListModelsResponse(
        models=map(model_to_proto, page.items), next_page_token=page.next_page_token
    )


def route_to_proto(route: Route) -> gateway_pb2.Route:
    """Return a route."""
    return gateway_pb2.Route(
        name=route.name,
        candidates=[
            gateway_pb2.Route.Candidate(
                model=candidate.model,
                timeout_seconds=candidate.timeout_seconds,
                max_tokens=candidate.max_tokens,
            )
            for candidate in route.candidates
        ],
        origin=_ORIGINS[route.origin],
    )


def routes_to_proto(page: Page[Route]) -> gateway_service_pb2.ListRoutesResponse:
    """Return a page of routes."""
    return gateway_service_pb2.ListRoutesResponse(
        routes=map(route_to_proto, page.items), next_page_token=page.next_page_token
    )


def usage_records_to_proto(page: Page[UsageRecord]) -> gateway_service_pb2.ListUsageResponse:
    """Return a page of usage."""
    return gateway_service_pb2.ListUsageResponse(
        records=map(_usage_record_to_proto, page.items), next_page_token=page.next_page_token
    )


def _usage_record_to_proto(record: UsageRecord) -> gateway_pb2.UsageRecord:
    day = timestamp_pb2.Timestamp()
    day.FromDatetime(datetime.combine(record.key.day, time(), UTC))
    return gateway_pb2.UsageRecord(
        day=day,
        task=record.key.task,
        model=record.key.model,
        requests=record.count.requests,
        failures=record.count.failures,
        usage=usage_to_proto(record.count.usage),
    )
