"""``atrium models route|quota|usage|costs``: what a tenant's calls take, may use and did use."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from atrium.gateway.v1 import gateway_pb2, gateway_service_pb2, quota_service_pb2
from atrium_suite.cli.calls import (
    DEFAULT_TARGET,
    AsJson,
    Key,
    OptionInvalid,
    Target,
    all_pages,
    connect,
    parse_time,
    run,
)
from atrium_suite.terminal.names import full_name, moment, short_name
from atrium_suite.terminal.output import make_console, plain, print_json, print_rows

route_app = typer.Typer(no_args_is_help=True, help="Which models serve which task.")
quota_app = typer.Typer(no_args_is_help=True, help="How much a tenant, a key or a task may use.")

Task = Annotated[str, typer.Argument(help="Task, such as knowledge.answer, or default.")]
Since = Annotated[str, typer.Option(help="First day (UTC). Empty: 30 days ago.")]
Until = Annotated[str, typer.Option(help="First moment no longer included (UTC). Empty: now.")]

_USAGE_COLUMNS = (
    "day", "key", "task", "model", "requests", "cached", "failures",
    "prompt_tokens", "completion_tokens", "encoder_tokens", "cost", "currency",
)  # fmt: skip


@route_app.command("list")
def list_routes(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List the routes that hold for the tenant, its own and the operator's."""

    async def work() -> None:
        async with connect(target, key) as client:
            request = gateway_service_pb2.ListRoutesRequest(page_size=1000)
            routes = await all_pages(client.catalog.ListRoutes, request, "routes")
        if as_json:
            print_json(routes)
            return
        print_rows(
            ("task", "models", "replies", "cache", "set by"),
            [
                (
                    short_name(route.name),
                    ", ".join(map(_candidate_in_words, route.candidates)),
                    _word(gateway_pb2.Grounding, route.grounding, "tolerant"),
                    _word(gateway_pb2.CacheMode, route.cache, "off").removeprefix("cache_"),
                    _word(gateway_pb2.Route.Origin, route.origin, "").replace("file", "operator"),
                )
                for route in routes
            ],
            empty="There are no routes.",
        )

    run(work())


@route_app.command("set")
def set_route(
    task: Task,
    models: Annotated[
        list[str],
        typer.Argument(
            help="Models, first choice first. MODEL=WEIGHT shares the calls out: a=95 b=5.",
            metavar="MODEL[=WEIGHT]...",
        ),
    ],
    timeout: Annotated[float, typer.Option(help="Longest wait for a reply, in seconds.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Most tokens where a call does not say.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Drop sentences that no source supports.")
    ] = False,
    cache: Annotated[str, typer.Option(help="off, exact or semantic.")] = "off",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Set the tenant's route for a task, in place of the one it had."""

    async def work() -> None:
        route = gateway_pb2.Route(
            name=full_name("routes", task),
            candidates=[_candidate(each, timeout, max_tokens) for each in models],
            grounding=gateway_pb2.STRICT if strict else gateway_pb2.TOLERANT,
            cache=_cache_mode(cache),
        )
        async with connect(target, key) as client:
            made = await client.catalog.UpdateRoute(
                gateway_service_pb2.UpdateRouteRequest(route=route)
            )
        _say(made, f"{short_name(made.name)} goes to {', '.join(models)}.", as_json=as_json)

    run(work())


@route_app.command("delete")
def delete_route(task: Task, target: Target = DEFAULT_TARGET, key: Key = "") -> None:
    """Remove the tenant's route; the operator's holds again."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.catalog.DeleteRoute(
                gateway_service_pb2.DeleteRouteRequest(name=full_name("routes", task))
            )
        make_console().print(plain(f"{short_name(task)} goes where the operator sends it."))

    run(work())


@quota_app.command("list")
def list_quotas(target: Target = DEFAULT_TARGET, key: Key = "", as_json: AsJson = False) -> None:
    """List the tenant's quotas and what is used of them now."""

    async def work() -> None:
        async with connect(target, key) as client:
            request = quota_service_pb2.ListQuotasRequest(page_size=1000)
            quotas = await all_pages(client.quotas.ListQuotas, request, "quotas")
        if as_json:
            print_json(quotas)
            return
        print_rows(
            ("quota", "for", "used", "of", "unit", "every", "until (UTC)", "set by"),
            [
                (
                    short_name(quota.name),
                    quota.subject or "the tenant",
                    str(quota.used),
                    str(quota.limit),
                    _word(quota_service_pb2.Quota.Unit, quota.unit, ""),
                    _word(quota_service_pb2.Quota.Window, quota.window, ""),
                    moment(quota.reset_time),
                    _word(quota_service_pb2.Quota.Origin, quota.origin, ""),
                )
                for quota in quotas
            ],
            empty="No quota limits this tenant.",
        )

    run(work())


@quota_app.command("set")
def set_quota(
    name: Annotated[str, typer.Argument(help="Name of the quota, such as assistant-daily.")],
    limit: Annotated[int, typer.Argument(help="Most in one window; 0 stops all use.")],
    unit: Annotated[str, typer.Option(help="tokens or requests.")] = "tokens",
    every: Annotated[str, typer.Option(help="minute, hour, day or month.")] = "day",
    subject: Annotated[
        str, typer.Option("--for", help="apiKeys/ID or tasks/TASK. Empty: the whole tenant.")
    ] = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Set a quota, in place of one of the same name."""

    async def work() -> None:
        quota = quota_service_pb2.Quota(
            name=full_name("quotas", name),
            subject=subject,
            unit=_choice("--unit", unit, quota_service_pb2.Quota.Unit),
            window=_choice("--every", every, quota_service_pb2.Quota.Window),
            limit=limit,
        )
        async with connect(target, key) as client:
            made = await client.quotas.UpdateQuota(
                quota_service_pb2.UpdateQuotaRequest(quota=quota)
            )
        whose = subject or "the tenant"
        _say(made, f"{whose}: at most {made.limit} {unit} a {every}.", as_json=as_json)

    run(work())


@quota_app.command("delete")
def delete_quota(
    name: Annotated[str, typer.Argument(help="Name of the quota.")],
    target: Target = DEFAULT_TARGET,
    key: Key = "",
) -> None:
    """Remove a quota of the tenant; the operator's stay."""

    async def work() -> None:
        async with connect(target, key) as client:
            await client.quotas.DeleteQuota(
                quota_service_pb2.DeleteQuotaRequest(name=full_name("quotas", name))
            )
        make_console().print(plain(f"{short_name(name)} is gone."))

    run(work())


def usage(
    since: Since = "",
    until: Until = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show what the tenant used: by day, key, task and model."""

    async def work() -> None:
        if as_csv and as_json:
            raise OptionInvalid("Give --csv or --json, not both.")
        request = gateway_service_pb2.ListUsageRequest(page_size=1000)
        _set_period(request, since, until)
        async with connect(target, key) as client:
            records = await all_pages(client.catalog.ListUsage, request, "records")
        if as_json:
            print_json(records)
            return
        rows = list(map(_usage_row, records))
        if as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(_USAGE_COLUMNS)
            writer.writerows(rows)
            return
        columns = [column.replace("_", " ") for column in _USAGE_COLUMNS]
        print_rows(columns, rows, empty="Nothing was used in this time.")

    run(work())


def costs(
    since: Since = "",
    until: Until = "",
    target: Target = DEFAULT_TARGET,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show what each task cost on each model, and which smaller model would do."""

    async def work() -> None:
        request = gateway_service_pb2.ReportCostsRequest()
        _set_period(request, since, until)
        async with connect(target, key) as client:
            report = await client.catalog.ReportCosts(request)
        if as_json:
            print_json(report)
            return
        print_rows(
            ("task", "model", "requests", f"cost {report.currency}".rstrip(), "taken as it was"),
            [
                (task.task, short_name(model.model), str(model.requests), model.cost, _taken(model))
                for task in report.tasks
                for model in task.models
            ],
            empty="Nothing was used in this time.",
        )
        console = make_console()
        for task in report.tasks:
            advice = task.reason
            if task.suggested_model:
                model = short_name(task.suggested_model)
                advice = f"{model} would do and save {task.saving} {report.currency}. {advice}"
            console.print(plain(f"{task.task}: {advice}"), soft_wrap=True)

    run(work())


def _candidate(text: str, timeout: float, max_tokens: int) -> gateway_pb2.Route.Candidate:
    model, _, weight = text.partition("=")
    if weight and not weight.isdecimal():
        raise OptionInvalid(f"A weight is a whole number, as in models/a=95; not {weight!r}.")
    return gateway_pb2.Route.Candidate(
        model=full_name("models", model),
        weight=int(weight or 0),
        timeout_seconds=timeout,
        max_tokens=max_tokens,
    )


def _candidate_in_words(candidate: gateway_pb2.Route.Candidate) -> str:
    model = short_name(candidate.model)
    return f"{model}={candidate.weight}" if candidate.weight else model


def _cache_mode(text: str) -> gateway_pb2.CacheMode.ValueType:
    modes = {
        "off": gateway_pb2.CACHE_OFF,
        "exact": gateway_pb2.EXACT,
        "semantic": gateway_pb2.SEMANTIC,
    }
    if text not in modes:
        raise OptionInvalid(f"--cache is off, exact or semantic; not {text!r}.")
    return modes[text]


def _choice(option: str, text: str, enum: Any) -> Any:
    words = [name.lower() for name, number in enum.items() if number]
    if text not in words:
        raise OptionInvalid(f"{option} is {', '.join(words[:-1])} or {words[-1]}; not {text!r}.")
    return enum.Value(text.upper())


def _word(enum: Any, number: int, unset: str) -> str:
    word: str = enum.Name(number).lower()
    return word if number else unset


def _usage_row(record: gateway_pb2.UsageRecord) -> Sequence[str]:
    return (
        record.day.ToJsonString()[:10],
        short_name(record.credential),
        record.task,
        short_name(record.model),
        str(record.requests),
        str(record.cached),
        str(record.failures),
        str(record.usage.prompt_tokens),
        str(record.usage.completion_tokens),
        str(record.usage.encoder_tokens),
        record.cost,
        record.currency,
    )


def _taken(model: gateway_service_pb2.ReportCostsResponse.ModelCost) -> str:
    told = model.accepted + model.edited + model.rejected
    if not told:
        return "not told"
    low, high = model.acceptance_low, model.acceptance_high
    return f"{model.accepted} of {told} ({low:.0%} to {high:.0%})"


def _set_period(request: Any, since: str, until: str) -> None:
    if since:
        request.start_time.FromDatetime(parse_time(since, "--since"))
    if until:
        request.end_time.FromDatetime(parse_time(until, "--until"))


def _say(message: Message, words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(message)
    else:
        make_console().print(plain(words), soft_wrap=True)
