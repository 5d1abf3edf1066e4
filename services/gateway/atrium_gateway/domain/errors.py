"""What can go wrong at the gateway, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from atrium_shared.errors import Conflict, Denied, Exhausted, Invalid, NotFound, Unavailable


class ModelNotFound(NotFound):
    """No such model in the catalogue."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"Model {model!r} does not exist. ListModels names those that do.",
            field="name",
            model=model,
        )


class RouteNotFound(NotFound):
    """The tenant has no such route of its own."""

    reason = "ROUTE_NOT_FOUND"

    def __init__(self, route: str) -> None:
        super().__init__(
            f"Route {route!r} is not set for this tenant. ListRoutes shows the routes; those with "
            "origin FILE are the operator's and cannot be removed.",
            field="name",
            route=route,
        )


class GenerationNotFound(NotFound):
    """No reply of this tenant has this name."""

    reason = "GENERATION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "The generation does not exist. Send `generation` as a reply of this tenant gave it.",
            field="generation",
        )


class RouteModelUnknown(Invalid):
    """A route names a model that the installation does not have."""

    reason = "ROUTE_MODEL_UNKNOWN"

    def __init__(self, route: str, model: str, *, field: str) -> None:
        super().__init__(
            f"Route {route!r} names model {model!r}, which this installation does not have. "
            "ListModels names those that it has.",
            field=field,
            route=route,
            model=model,
        )


class TaskHasNoModel(Unavailable):
    """No candidate of the task's route can be used now."""

    reason = "TASK_HAS_NO_MODEL"
    lasting = True

    def __init__(self, task: str, capability: str, attempts: Sequence[str] = ()) -> None:
        why = (
            f"tried: {'; '.join(attempts)}"
            if attempts
            else f"no route of it leads to a model that can {capability}"
        )
        super().__init__(
            f"Task {task!r} has no model that answers ({why}). Make one of its models run "
            "(`atrium up --models small`; GATEWAY_MODELS where the gateway runs alone), set "
            "LLM_URL to an OpenAI-compatible server, or route the task to another model.",
            task=task,
            capability=capability,
        )


class ModelUnavailable(Unavailable):
    """A model is configured but cannot be used now. The next candidate is tried."""

    reason = "MODEL_UNAVAILABLE"

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"Model {model!r} cannot be used now: {why}", model=model)
        self.why = why


class UpstreamFailed(Unavailable):
    """The server behind a model failed, or said something that cannot be understood."""

    reason = "UPSTREAM_FAILED"

    def __init__(self, model: str, why: str, *, status: int | None = None) -> None:
        super().__init__(
            f"The server of model {model!r} failed: {why}. Call again later, or let the operator "
            "look at that server.",
            model=model,
        )
        if status is not None:
            self.metadata["status"] = str(status)
        self.why = why


class UpstreamResting(UpstreamFailed):
    """The server behind a model failed so often that it is not asked for a while."""

    def __init__(self, model: str, seconds: float) -> None:
        super().__init__(
            model, f"it failed several times in a row and is asked again in {seconds:.0f} s"
        )
        self.metadata["retry_seconds"] = f"{seconds:.0f}"


class UpstreamTimedOut(Unavailable):
    """The server behind a model did not answer in time."""

    reason = "UPSTREAM_TIMED_OUT"

    def __init__(self, model: str, seconds: float, *, waiting_for: str = "the reply") -> None:
        super().__init__(
            f"Model {model!r} took longer than {seconds:g} s for {waiting_for}. Ask for fewer "
            "tokens, or raise the timeout of the route's candidate.",
            model=model,
            timeout_seconds=f"{seconds:g}",
        )
        self.why = f"took longer than {seconds:g} s for {waiting_for}"


class QuotaExhausted(Exhausted):
    """What a call may need does not fit what is left of a quota. No other candidate is tried."""

    reason = "QUOTA_EXHAUSTED"

    def __init__(
        self,
        quota: str,
        *,
        unit: str,
        window: str,
        limit: int,
        remaining: int,
        needed: int,
        reset_time: datetime,
        now: datetime,
    ) -> None:
        reset = reset_time.isoformat().replace("+00:00", "Z")
        what = f"Quota {quota!r} allows {limit} {unit} a {window}"
        if needed > limit:
            message = (
                f"{what}; this call may need {needed}, so it never fits. Shorten the prompt, lower "
                "max_tokens, or raise the limit."
            )
        else:
            message = (
                f"{what} and {remaining} are left until {reset}; this call may need {needed}. Call "
                "again then, ask for fewer tokens, or raise the limit."
            )
            self.retry_seconds = max(0.0, (reset_time - now).total_seconds())
        super().__init__(
            message,
            quota=quota,
            limit=limit,
            remaining=remaining,
            needed=needed,
            reset_time=reset,
        )


class ResidencyForbids(Denied):
    """The tenant's texts may not go to a model. The next candidate is tried."""

    reason = "RESIDENCY_FORBIDS"

    def __init__(self, model: str, residency: str, unsearched: str = "") -> None:
        if unsearched:
            why = f"personal data cannot be taken out of the texts: {unsearched}"
        else:
            why = f"the tenant's residency ({residency}) forbids it"
        super().__init__(
            f"The texts of the tenant may not go to {model!r}, which runs outside of the "
            f"installation: {why}. Route the task to a model inside, or let the operator change "
            "the tenant's residency.",
            model=model,
            residency=residency,
        )
        self.why = why


class PromptTooLong(Invalid):
    """Prompt and reply do not fit the model's context together."""

    reason = "PROMPT_TOO_LONG"

    def __init__(
        self, model: str, *, prompt_tokens: int, max_tokens: int, context_tokens: int, exact: bool
    ) -> None:
        size = f"{prompt_tokens}" if exact else f"about {prompt_tokens}"
        super().__init__(
            f"The prompt has {size} tokens and the reply may have {max_tokens}; together they must "
            f"not exceed the {context_tokens} tokens of {model!r}. Shorten the messages, lower "
            "max_tokens, or route the task to a model with a larger context.",
            field="messages",
            model=model,
            prompt_tokens=prompt_tokens,
            max_tokens=max_tokens,
            context_tokens=context_tokens,
        )


class GeneratorQueueFull(Exhausted):
    """Too many calls wait for a generator already."""

    reason = "GENERATOR_QUEUE_FULL"

    def __init__(self, model: str, waiting: int) -> None:
        super().__init__(
            f"{waiting} calls wait for {model!r} already. Call again later, or add a replica.",
            model=model,
            waiting=waiting,
        )


class EncoderQueueFull(Exhausted):
    """Too many texts wait for an encoder already."""

    reason = "ENCODER_QUEUE_FULL"

    def __init__(self, model: str, waiting: int) -> None:
        super().__init__(
            f"{waiting} calls wait for {model!r} already. Call again later, or add threads "
            "(GATEWAY_ENCODER_THREADS) or a replica.",
            model=model,
            waiting=waiting,
        )


class SchemaUnsupported(Invalid):
    """The JSON schema is not one, or the model cannot follow it."""

    reason = "SCHEMA_UNSUPPORTED"

    def __init__(self, why: str, *, model: str | None = None) -> None:
        super().__init__(
            f"The reply cannot be held to `response_schema`: {why}. Send a JSON Schema (2020-12) "
            "without remote references that the model can follow, or ask for free text.",
            field="response_schema",
        )
        self.why = why
        if model is not None:
            self.metadata["model"] = model


class LabelWithoutMeaning(Invalid):
    """A label has neither a description nor an example."""

    reason = "LABEL_WITHOUT_MEANING"

    def __init__(self, index: int, label: str) -> None:
        super().__init__(
            f"Label {label!r} has neither a description nor an example, so nothing can be matched "
            "with it. Give it one or the other.",
            field=f"labels[{index}]",
            label=label,
        )


class LabelRepeated(Invalid):
    """Two labels have the same id."""

    reason = "LABEL_REPEATED"

    def __init__(self, index: int, label: str) -> None:
        super().__init__(
            f"Label {label!r} is given twice. Join the examples of both into one label.",
            field=f"labels[{index}].id",
            label=label,
        )


class LabelUnknown(Invalid):
    """The trained classifier knows no such label."""

    reason = "LABEL_UNKNOWN"

    def __init__(self, index: int, label: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Label {label!r} is none that the classifier was trained on. It knows: "
            f"{', '.join(known)}.",
            field=f"labels[{index}].id",
            label=label,
        )


class SegmentInvalid(Invalid):
    """A segment of a passage to read does not lie in it, or not behind the one before."""

    reason = "SEGMENT_INVALID"

    def __init__(self, passage: int, segment: int, bound: str, value: int, expected: str) -> None:
        super().__init__(
            f"Segment {segment} of passage {passage} has `{bound}` {value}, expected {expected}. "
            "Segments are ranges of code points of the passage's text, each begins where the one "
            "before ends or later.",
            field=f"passages[{passage}].segments[{segment}].{bound}",
            passage=passage,
            segment=segment,
        )


class UsagePeriodInvalid(Invalid):
    """The end of a usage period does not lie after its start."""

    reason = "USAGE_PERIOD_INVALID"

    def __init__(self, start: str, end: str) -> None:
        super().__init__(
            f"The period is empty: it would begin at {start} and end at {end}. Its start lies "
            "before its end, which is now when none is given.",
            field="end_time",
            start_time=start,
            end_time=end,
        )


class CalculationFailed(Unavailable):
    """The model wrote no program that could be run."""

    reason = "CALCULATION_FAILED"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The calculation failed, twice: the model's program cannot be used ({why}). Put the "
            "question more plainly, or route the task to a larger model.",
            why=why,
        )


class CalculationQueueFull(Exhausted):
    """Too many calculations run already."""

    reason = "CALCULATION_QUEUE_FULL"

    def __init__(self, processes: int) -> None:
        super().__init__(
            f"All {processes} processes for calculations are busy. Call again later, or raise "
            "GATEWAY_CALCULATION_PROCESSES.",
            processes=processes,
        )


class CalculationWithSchema(Invalid):
    """A reply cannot be a calculation and follow a schema."""

    reason = "CALCULATION_WITH_SCHEMA"

    def __init__(self) -> None:
        super().__init__(
            "The aid CALCULATE answers with a sentence that gives the result, which follows no "
            "`response_schema`. Ask for one or the other; `calculation` holds the bare result.",
            field="response_schema",
        )


class GroundingWithoutSources(Invalid):
    """Nothing can support a reply."""

    reason = "GROUNDING_WITHOUT_SOURCES"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"Replies of task {task!r} must be supported by sources, and the request has none. "
            "Send `sources`, or ask for TOLERANT.",
            field="sources",
            task=task,
        )


class GroundingWithSchema(Invalid):
    """A reply that follows a schema has no sentences to check."""

    reason = "GROUNDING_WITH_SCHEMA"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"Replies of task {task!r} are checked sentence by sentence, which one that follows "
            "`response_schema` does not have. Leave the schema out, or ask for TOLERANT.",
            field="response_schema",
            task=task,
        )


class SourceRepeated(Invalid):
    """Two sources have the same id."""

    reason = "SOURCE_REPEATED"

    def __init__(self, index: int, source: str) -> None:
        super().__init__(
            f"Source {source!r} is given twice. Give every source an id of its own.",
            field=f"sources[{index}].id",
            source=source,
        )


class SourcesTooLong(Invalid):
    """There is more to check against than can be."""

    reason = "SOURCES_TOO_LONG"

    def __init__(self, characters: int, most: int) -> None:
        super().__init__(
            f"The sources have {characters} characters together; a reply can be checked against "
            f"at most {most}. Send the passages that matter.",
            field="sources",
            characters=characters,
            most=most,
        )


class ReplyUnsupported(Conflict):
    """No sentence of the reply is supported by the sources."""

    reason = "REPLY_UNSUPPORTED"

    def __init__(self, dropped: int) -> None:
        super().__init__(
            f"The model wrote {dropped} sentences, and the sources support none of them. Send "
            "sources that answer, or say that they do not.",
            dropped_sentences=dropped,
        )


class QuotaNotFound(NotFound):
    """The tenant has no such quota of its own."""

    reason = "QUOTA_NOT_FOUND"

    def __init__(self, quota: str) -> None:
        super().__init__(
            f"Quota {quota!r} is not set by this tenant. ListQuotas shows the quotas; those with "
            "origin OPERATOR are the operator's and cannot be removed.",
            field="name",
            quota=quota,
        )


class QuotaInvalid(Invalid):
    """A quota cannot be set so."""

    reason = "QUOTA_INVALID"

    def __init__(self, field: str, value: str, problem: str) -> None:
        super().__init__(
            f"`{field}` is {value!r}: {problem}.", field=field, value=value, problem=problem
        )


class ProcessForgotten(Conflict):
    """A process that seemed dead was charged its leases; it goes on under a new name."""

    reason = "QUOTA_PROCESS_FORGOTTEN"

    def __init__(self, process: str) -> None:
        super().__init__(
            f"Process {process!r} showed no life for too long, and its leases were taken.",
            process=process,
        )


class LanguageUnsupported(Invalid):
    """A language that cannot be told or translated."""

    reason = "LANGUAGE_UNSUPPORTED"

    def __init__(self, language: str, field: str) -> None:
        super().__init__(
            f"`{field}` is {language!r}, expected zh, zh-Hant or en.",
            field=field,
            language=language,
        )


class TermRepeated(Invalid):
    """A word has two translations."""

    reason = "TERM_REPEATED"

    def __init__(self, index: int, term: str) -> None:
        super().__init__(
            f"Term {term!r} is given twice with different targets. Keep one.",
            field=f"terms[{index}].source",
            term=term,
        )
