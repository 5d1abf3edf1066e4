"""Between protos and the domain."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import numpy as np
from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.message import Message

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2, quota_service_pb2
from atrium_gateway.app.catalog import ModelView
from atrium_gateway.app.classify_texts import Classified, Label
from atrium_gateway.app.embed_texts import Embedded
from atrium_gateway.app.list_usage import UsageLine
from atrium_gateway.app.manage_quotas import QuotaView
from atrium_gateway.app.page import Page
from atrium_gateway.app.ports import TextKind
from atrium_gateway.app.read_passages import PassagesRead
from atrium_gateway.app.report_costs import CostReport
from atrium_gateway.app.rerank_texts import Reranked
from atrium_gateway.domain.costs import ModelCost, TaskCost
from atrium_gateway.domain.generation import (
    Aid,
    CacheMode,
    ChatMessage,
    Delta,
    FinishReason,
    Generated,
    GenerateEvent,
    Grounding,
    Prompt,
    Role,
    Source,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolMode,
)
from atrium_gateway.domain.models import (
    Capability,
    Location,
    ModelState,
    Price,
    Tier,
    plain_decimal,
)
from atrium_gateway.domain.outcomes import Outcome
from atrium_gateway.domain.quotas import Quota, QuotaOrigin
from atrium_gateway.domain.reading import ReadPassage, Relation, Segment
from atrium_gateway.domain.routes import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TIMEOUT_SECONDS,
    ROUTE_PREFIX,
    Candidate,
    Route,
    RouteOrigin,
)
from atrium_gateway.domain.translation import Job, Term, Translated
from atrium_shared.principal import QuotaUnit, QuotaWindow
from atrium_shared.rpc.engines import engine_to_proto, usage_to_proto
from atrium_shared.rpc.status import FieldInvalid

_ROLES = {
    gateway_pb2.Message.SYSTEM: Role.SYSTEM,
    gateway_pb2.Message.USER: Role.USER,
    gateway_pb2.Message.ASSISTANT: Role.ASSISTANT,
    gateway_pb2.Message.TOOL: Role.TOOL,
}
_TOOL_MODES = {
    gateway_pb2.ToolChoice.MODE_UNSPECIFIED: ToolMode.AUTO,
    gateway_pb2.ToolChoice.AUTO: ToolMode.AUTO,
    gateway_pb2.ToolChoice.NONE: ToolMode.NONE,
    gateway_pb2.ToolChoice.REQUIRED: ToolMode.REQUIRED,
}
_GROUNDINGS = {
    gateway_pb2.STRICT: Grounding.STRICT,
    gateway_pb2.TOLERANT: Grounding.TOLERANT,
}
_GROUNDINGS_TO_PROTO = {value: key for key, value in _GROUNDINGS.items()}
_CACHE_MODES = {
    gateway_pb2.CACHE_OFF: CacheMode.OFF,
    gateway_pb2.EXACT: CacheMode.EXACT,
    gateway_pb2.SEMANTIC: CacheMode.SEMANTIC,
}
_CACHE_MODES_TO_PROTO = {value: key for key, value in _CACHE_MODES.items()}
_AIDS = {gateway_pb2.CALCULATE: Aid.CALCULATE}
_TIERS = {
    Tier.GENERAL: gateway_pb2.Model.GENERAL,
    Tier.SCENARIO: gateway_pb2.Model.SCENARIO,
    Tier.VERTICAL: gateway_pb2.Model.VERTICAL,
}
_LOCATIONS = {
    Location.RESIDENT: gateway_pb2.Model.RESIDENT,
    Location.OUTSIDE: gateway_pb2.Model.OUTSIDE,
}
_KINDS = {
    gateway_pb2.EmbedRequest.QUERY: TextKind.QUERY,
    gateway_pb2.EmbedRequest.PASSAGE: TextKind.PASSAGE,
}
_RELATIONS = {
    gateway_pb2.ReadRequest.RELATION_UNSPECIFIED: Relation.ANSWERS,
    gateway_pb2.ReadRequest.ANSWERS: Relation.ANSWERS,
    gateway_pb2.ReadRequest.CONCERNS: Relation.CONCERNS,
    gateway_pb2.ReadRequest.STATES: Relation.STATES,
}
_REASONS = {
    FinishReason.STOP: gateway_pb2.GenerateResponse.STOP,
    FinishReason.LENGTH: gateway_pb2.GenerateResponse.LENGTH,
    FinishReason.FILTERED: gateway_pb2.GenerateResponse.FILTERED,
    FinishReason.TOOL_CALLS: gateway_pb2.GenerateResponse.TOOL_CALLS,
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
_OUTCOMES = {
    gateway_service_pb2.RecordOutcomeRequest.ACCEPTED: Outcome.ACCEPTED,
    gateway_service_pb2.RecordOutcomeRequest.EDITED: Outcome.EDITED,
    gateway_service_pb2.RecordOutcomeRequest.REJECTED: Outcome.REJECTED,
}
_ORIGINS = {
    RouteOrigin.FILE: gateway_pb2.Route.FILE,
    RouteOrigin.TENANT: gateway_pb2.Route.TENANT,
}
_QUOTA_UNITS = {
    QuotaUnit.TOKENS: quota_service_pb2.Quota.TOKENS,
    QuotaUnit.REQUESTS: quota_service_pb2.Quota.REQUESTS,
}
_QUOTA_WINDOWS = {
    QuotaWindow.MINUTE: quota_service_pb2.Quota.MINUTE,
    QuotaWindow.HOUR: quota_service_pb2.Quota.HOUR,
    QuotaWindow.DAY: quota_service_pb2.Quota.DAY,
    QuotaWindow.MONTH: quota_service_pb2.Quota.MONTH,
}
_QUOTA_ORIGINS = {
    QuotaOrigin.OPERATOR: quota_service_pb2.Quota.OPERATOR,
    QuotaOrigin.TENANT: quota_service_pb2.Quota.TENANT,
}


def prompt_from_proto(request: gateway_pb2.GenerateRequest) -> Prompt:
    """Return what a generator is asked."""
    return Prompt(
        messages=tuple([_message(message) for message in request.messages]),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        response_schema=(
            schema_from_proto(request.response_schema)
            if request.HasField("response_schema")
            else None
        ),
        stop=tuple(request.stop),
        seed=request.seed if request.HasField("seed") else None,
        tools=tuple([_tool(tool) for tool in request.tools]),
        tool_choice=ToolChoice(_TOOL_MODES[request.tool_choice.mode], request.tool_choice.tool),
        sources=tuple([Source(source.id, source.text) for source in request.sources]),
        grounding=_GROUNDINGS.get(request.grounding),
        aids=frozenset([_AIDS[aid] for aid in request.aids]),
        web_pages=tuple(request.web_pages),
        cache=_CACHE_MODES.get(request.cache),
    )


def _message(message: gateway_pb2.Message) -> ChatMessage:
    return ChatMessage(
        _ROLES[message.role],
        message.content,
        tuple([ToolCall(call.id, call.name, call.arguments) for call in message.tool_calls]),
        message.tool_call_id,
    )


def _tool(tool: gateway_pb2.Tool) -> Tool:
    parameters = schema_from_proto(tool.parameters) if tool.HasField("parameters") else None
    return Tool(tool.name, tool.description, parameters)


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


def relation_from_proto(relation: gateway_pb2.ReadRequest.Relation.ValueType) -> Relation:
    """Return what a reader is to look for."""
    return _RELATIONS[relation]


def route_from_proto(route: gateway_pb2.Route) -> Route:
    """Return a route of a tenant; zeros take the defaults."""
    return Route(
        route.name.removeprefix(ROUTE_PREFIX),
        tuple(
            Candidate(
                candidate.model,
                candidate.timeout_seconds or DEFAULT_TIMEOUT_SECONDS,
                candidate.max_tokens or DEFAULT_MAX_TOKENS,
                weight=candidate.weight,
            )
            for candidate in route.candidates
        ),
        RouteOrigin.TENANT,
        _GROUNDINGS.get(route.grounding, Grounding.TOLERANT),
        _CACHE_MODES.get(route.cache, CacheMode.OFF),
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


def generated_to_proto(generated: Generated) -> gateway_pb2.GenerateResponse:
    """Return a whole reply."""
    calculation = generated.calculation
    return gateway_pb2.GenerateResponse(
        text=generated.text,
        finish_reason=_REASONS[generated.reason],
        engine=engine_to_proto(generated.engine),
        usage=usage_to_proto(generated.usage),
        tool_calls=[
            gateway_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments)
            for call in generated.tool_calls
        ],
        generation=generated.generation,
        cached=generated.cached,
        calculation=(
            gateway_pb2.Calculation(
                program=calculation.program,
                result=calculation.result,
                missing=calculation.missing,
            )
            if calculation is not None
            else None
        ),
        supports=[
            gateway_pb2.Support(start=each.start, end=each.end, sources=each.sources)
            for each in generated.supports
        ],
        dropped_sentences=generated.dropped_sentences,
        redacted_values=generated.redacted_values,
    )


def event_to_proto(event: GenerateEvent) -> gateway_pb2.StreamGenerateResponse:
    """Return a part of a reply."""
    if isinstance(event, Delta):
        return gateway_pb2.StreamGenerateResponse(delta=event.text)
    if isinstance(event, ToolCallDelta):
        return gateway_pb2.StreamGenerateResponse(
            tool_call_delta=gateway_pb2.ToolCallDelta(
                index=event.index, id=event.id, name=event.name, arguments=event.arguments
            )
        )
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
        tier=_TIERS[model.tier],
        million_parameters=model.million_parameters,
        price=_price_to_proto(model.price) if model.price is not None else None,
        location=_LOCATIONS[model.location],
        replicas=view.replicas,
        version=model.version,
    )


def _price_to_proto(price: Price) -> gateway_pb2.Price:
    return gateway_pb2.Price(
        currency=price.currency,
        prompt=plain_decimal(price.prompt),
        completion=plain_decimal(price.completion),
        encoder=plain_decimal(price.encoder),
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
                weight=candidate.weight,
            )
            for candidate in route.candidates
        ],
        origin=_ORIGINS[route.origin],
        grounding=_GROUNDINGS_TO_PROTO[route.grounding],
        cache=_CACHE_MODES_TO_PROTO[route.cache],
    )


def routes_to_proto(page: Page[Route]) -> gateway_service_pb2.ListRoutesResponse:
    """Return a page of routes."""
    return gateway_service_pb2.ListRoutesResponse(
        routes=map(route_to_proto, page.items), next_page_token=page.next_page_token
    )


def usage_records_to_proto(page: Page[UsageLine]) -> gateway_service_pb2.ListUsageResponse:
    """Return a page of usage."""
    return gateway_service_pb2.ListUsageResponse(
        records=map(_usage_record_to_proto, page.items), next_page_token=page.next_page_token
    )


def _usage_record_to_proto(line: UsageLine) -> gateway_pb2.UsageRecord:
    record, price = line.record, line.price
    day = timestamp_pb2.Timestamp()
    day.FromDatetime(datetime.combine(record.key.day, time(), UTC))
    return gateway_pb2.UsageRecord(
        day=day,
        task=record.key.task,
        model=record.key.model,
        requests=record.count.requests,
        failures=record.count.failures,
        usage=usage_to_proto(record.count.usage),
        credential=record.key.credential,
        cached=record.count.cached,
        cost=plain_decimal(price.of(record.count.usage)) if price is not None else "",
        currency=price.currency if price is not None else "",
    )


def quota_from_proto(quota: quota_service_pb2.Quota) -> Quota:
    """Return a quota that a tenant wants to set."""
    units = {proto: unit for unit, proto in _QUOTA_UNITS.items()}
    windows = {proto: window for window, proto in _QUOTA_WINDOWS.items()}
    return Quota(quota.name, quota.subject, units[quota.unit], windows[quota.window], quota.limit)


def quota_to_proto(view: QuotaView) -> quota_service_pb2.Quota:
    """Return a quota with what is used of it."""
    quota = view.quota
    proto = quota_service_pb2.Quota(
        name=quota.name,
        subject=quota.subject,
        unit=_QUOTA_UNITS[quota.unit],
        window=_QUOTA_WINDOWS[quota.window],
        limit=quota.limit,
        used=view.used,
        origin=_QUOTA_ORIGINS[quota.origin],
    )
    proto.reset_time.FromDatetime(view.reset_time)
    return proto


def quotas_to_proto(page: Page[QuotaView]) -> quota_service_pb2.ListQuotasResponse:
    """Return a page of quotas."""
    quotas = [quota_to_proto(view) for view in page.items]
    return quota_service_pb2.ListQuotasResponse(quotas=quotas, next_page_token=page.next_page_token)


def job_from_proto(request: gateway_pb2.TranslateRequest) -> Job:
    """Return texts to translate.

    Raises:
        LanguageUnsupported: A language is none of those that can be translated.
        TermRepeated: A word has two translations.
    """
    terms = [Term(term.source, term.target) for term in request.terms]
    return Job.of(request.texts, request.source_language, request.target_language, terms)


def translated_to_proto(translated: Translated) -> gateway_pb2.TranslateResponse:
    """Return texts in another language."""
    return gateway_pb2.TranslateResponse(
        translations=[
            gateway_pb2.TranslateResponse.Translation(
                text=each.text,
                source_language=each.source,
                missing=each.missing,
                failure=each.failure,
            )
            for each in translated.translations
        ],
        engine=engine_to_proto(translated.engine),
        usage=usage_to_proto(translated.usage),
    )


def outcome_from_proto(
    outcome: gateway_service_pb2.RecordOutcomeRequest.Outcome.ValueType,
) -> Outcome:
    """Return what became of a reply."""
    return _OUTCOMES[outcome]


def cost_report_to_proto(report: CostReport) -> gateway_service_pb2.ReportCostsResponse:
    """Return what tasks cost."""
    return gateway_service_pb2.ReportCostsResponse(
        tasks=map(_task_cost_to_proto, report.tasks), currency=report.currency
    )


def _task_cost_to_proto(task: TaskCost) -> gateway_service_pb2.ReportCostsResponse.TaskCost:
    return gateway_service_pb2.ReportCostsResponse.TaskCost(
        task=task.task,
        models=map(_model_cost_to_proto, task.models),
        suggested_model=task.suggested_model,
        saving=plain_decimal(task.saving) if task.suggested_model else "",
        reason=task.reason,
    )


def _model_cost_to_proto(cost: ModelCost) -> gateway_service_pb2.ReportCostsResponse.ModelCost:
    low, high = cost.outcomes.accepted_interval
    return gateway_service_pb2.ReportCostsResponse.ModelCost(
        model=cost.model,
        requests=cost.count.requests,
        usage=usage_to_proto(cost.count.usage),
        cost=plain_decimal(cost.cost) if cost.cost is not None else "",
        accepted=cost.outcomes.accepted,
        edited=cost.outcomes.edited,
        rejected=cost.outcomes.rejected,
        acceptance_low=low,
        acceptance_high=high,
    )
