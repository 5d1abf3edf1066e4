"""What the gateway counts for Prometheus, beside the calls that every service counts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from atrium_gateway.app.catalog import Catalog, ServedModel
from atrium_gateway.domain.usage import UsageCount
from atrium_shared.telemetry import METRICS

# No tenant among the labels: thousands of them would be as many series. Usage is kept by tenant.
_CALLS = prometheus_client.Counter(
    "atrium_model_calls",
    "Calls of models; a call that fell back counts for each model it asked.",
    ("model", "result"),
    registry=METRICS,
)
_TOKENS = prometheus_client.Counter(
    "atrium_model_tokens", "Tokens read and written by models.", ("model", "kind"), registry=METRICS
)


def count_call(model: str, count: UsageCount) -> None:
    """Count a call that ended.

    Args:
        model: Resource name of the model.
        count: One call and its tokens.
    """
    fresh = count.requests - count.cached
    for result, number in (
        ("answered", fresh),
        ("cached", count.cached),
        ("failed", count.failures),
    ):
        if number:
            _calls(model, result).inc(number)
    usage = count.usage
    for kind, tokens in (
        ("prompt", usage.prompt_tokens),
        ("completion", usage.completion_tokens),
        ("encoder", usage.encoder_tokens),
    ):
        if tokens:
            _tokens(model, kind).inc(tokens)


# Every call counts, and finding a series by its labels takes longer than counting.
@cache
def _calls(model: str, result: str) -> prometheus_client.Counter:
    return _CALLS.labels(model, result)


@cache
def _tokens(model: str, kind: str) -> prometheus_client.Counter:
    return _TOKENS.labels(model, kind)


class UpstreamMetrics(Collector):
    """How busy and how well the servers of models are, read when somebody asks.

    Args:
        catalog: The models.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def register(self) -> None:
        """Be asked from now on."""
        METRICS.register(self)

    def unregister(self) -> None:
        """Be asked no longer."""
        METRICS.unregister(self)

    def collect(self) -> Iterable[Metric]:
        """Return one value for each model that waits and for each server."""
        waiting = GaugeMetricFamily(
            "atrium_model_waiting", "Calls that wait for a model.", labels=("model",)
        )
        busy = GaugeMetricFamily(
            "atrium_upstream_in_flight", "Calls that a server works on.", labels=("upstream",)
        )
        resting = GaugeMetricFamily(
            "atrium_upstream_resting",
            "1 while a server is left alone because it failed too often.",
            labels=("upstream",),
        )
        seen: set[str] = set()
        for served in self._served():
            if served.queues:
                name = served.model.name
                waiting.add_metric((name,), sum(queue.waiting for queue in served.queues))
            for replica in served.replicas:
                upstream = replica.upstream
                if upstream.name not in seen:
                    seen.add(upstream.name)
                    busy.add_metric((upstream.name,), upstream.in_flight)
                    resting.add_metric((upstream.name,), upstream.resting)
        return waiting, busy, resting

    def _served(self) -> Iterable[ServedModel]:
        for name in self._catalog.running():
            served = self._catalog.find(name)
            if served is not None:
                yield served
