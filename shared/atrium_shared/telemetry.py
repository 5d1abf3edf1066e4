"""Logs (structlog), traces (OpenTelemetry, W3C Trace Context) and metrics (Prometheus).

None of them ever carries document text, prompts or credentials.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
import structlog
import structlog.tracebacks
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from structlog.typing import EventDict, Processor, WrappedLogger

from atrium_shared.rpc.context import trace_id

METRICS = prometheus_client.CollectorRegistry()
"""Every metric of Atrium is registered here, and those of the process beside them."""

prometheus_client.ProcessCollector(registry=METRICS)
prometheus_client.PlatformCollector(registry=METRICS)
prometheus_client.GCCollector(registry=METRICS)

RPC_TOTAL = prometheus_client.Counter(
    "atrium_rpc", "Finished calls.", ("service", "method", "code"), registry=METRICS
)
RPC_SECONDS = prometheus_client.Histogram(
    "atrium_rpc_seconds",
    "Time from a call's arrival to its end.",
    ("service", "method"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=METRICS,
)
RPC_IN_FLIGHT = prometheus_client.Gauge(
    "atrium_rpc_in_flight", "Calls under way.", ("service", "method"), registry=METRICS
)

_CHATTY = ("alembic", "casbin", "httpx", "uvicorn")
"""Libraries that tell at level info what nobody runs a service to read."""

METRICS_CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


def metrics_text() -> bytes:
    """Return all metrics in the Prometheus text format, for an HTTP endpoint."""
    return prometheus_client.generate_latest(METRICS)


def configure_logging(json: bool, level: str = "info") -> None:
    """Send the logs of Atrium and of the libraries to standard error.

    Args:
        json: One JSON object a line, for collectors; else coloured text, for people.
        level: Least severe level shown: ``debug``, ``info``, ``warning`` or ``error``.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks go without local variables: these hold documents, questions and credentials.
    if json:
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last: list[Processor] = [
            structlog.processors.ExceptionRenderer(transformer),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))


def _add_trace_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    current = trace_id()
    if current:
        event.setdefault("trace", current)
    return event


_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None


def configure_tracing(
    service: str, otlp_endpoint: str | None, *, exporter: SpanExporter | None = None
) -> None:
    """Record spans from now on, or stop recording them.

    Args:
        service: Name under which the spans appear.
        otlp_endpoint: ``"http://collector:4317"`` (OTLP over gRPC); ``None``: no spans unless an
            ``exporter`` is given.
        exporter: Where spans go instead, such as memory in tests.
    """
    global _provider, _tracer
    shut_down_tracing()
    if exporter is None and otlp_endpoint is not None:
        exporter = OTLPSpanExporter(
            endpoint=otlp_endpoint, insecure=not otlp_endpoint.startswith("https")
        )
    if exporter is not None:
        _provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
        _provider.add_span_processor(BatchSpanProcessor(exporter))
        _tracer = _provider.get_tracer("atrium")


def shut_down_tracing() -> None:
    """Send the spans that are still here and record no more."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def flush_traces() -> None:
    """Send the spans recorded so far."""
    if _provider is not None:
        _provider.force_flush()


def tracer() -> trace.Tracer | None:
    """Return the tracer, or ``None`` when no spans are recorded."""
    return _tracer


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Record what happens inside as a span under the current one; costs nothing when not traced.

    Args:
        name: What is done, ``"parse document"``.
        **attributes: Sizes, counts and names of engines; never content.
    """
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=attributes):
        yield
