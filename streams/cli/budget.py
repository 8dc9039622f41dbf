"""`batuta budget`: how the budgets of a pipeline stand, and their limits by hand."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, PipelineName
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from batuta.agents.budgets.standing import BudgetStanding
    from batuta.schemas.pipeline_file.quantities import Money
    from batuta.streams.budget_desk import BudgetDesk

__all__ = ["budget"]

budget = typer.Typer(
    name="budget",
    help="Show how budgets stand and when they will end; set their limits.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

#: Written in place of an amount: back to what the pipeline file says.
_AS_IN_FILE: Final = "file"

BudgetName = Annotated[
    str | None,
    typer.Option("--budget", metavar="NAME", help="Which; needed only where there are several."),
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose, where each tenant has its own."),
]


@budget.command("show")
def show(
    pipeline: PipelineName,
    *,
    name: BudgetName = None,
    tenant: Tenant = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show what of each budget is spent and leased, what is left, and when it will end.

    What is leased counts as spent until it comes back. Leaves with 1 where there is no budget.

    Example: batuta budget show ./parcels.yaml --bootstrap 127.0.0.1:9092
    """
    desk = _desk(pipeline, bootstrap)
    if name is not None and desk.rules and name not in desk.rules:
        desk.id_of(name, tenant)
    found = [
        one
        for one in (asyncio.run(desk.standings()) if desk.rules else ())
        if name in (None, one.rule.name)
        and (tenant is None or one.budget == one.rule.id_of(tenant))
    ]
    if as_json:
        print_json({"pipeline": pipeline, "budgets": [_as_json(one) for one in found]})
    for one in found if not as_json else ():
        _print(one)
    if not found:
        none = "no tenant has asked of a budget yet" if desk.rules else f"{pipeline} has no budget"
        say(f"{none}; docs/budgets.md says how to give it one", style="yellow")
        leave(Exit.NEGATIVE)


@budget.command("set")
def set_limit(
    pipeline: PipelineName,
    limit: Annotated[
        str,
        typer.Argument(
            metavar="LIMIT", help="Of one window, such as '60 EUR'; `file`: as the file says."
        ),
    ],
    *,
    name: BudgetName = None,
    tenant: Tenant = None,
    instead_of: Annotated[
        str | None,
        typer.Option(
            "--instead-of",
            metavar="LIMIT",
            help="Only where this is the limit so far; leaves with 1 where it is another.",
        ),
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="For a worker to take it.")
    ] = 10.0,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Set the limit of a budget; it holds from the window that runs, and over restarts.

    A limit below what is spent or leased already stops new leases, and says so. Of two people who
    set one at the same time one leaves with 1, and nothing of theirs is written.

    Example: batuta budget set ./parcels.yaml '60 EUR' --bootstrap 127.0.0.1:9092
    """
    from batuta.schemas.errors import UsageError

    desk = _desk(pipeline, bootstrap)
    if not desk.rules:
        raise UsageError(f"{pipeline} has no budget; add budget: to its file (docs/budgets.md)")
    money = None if limit == _AS_IN_FILE else _money("limit", limit)
    former = None if instead_of is None else _money("--instead-of", instead_of)
    done = asyncio.run(desk.set_limit(desk.id_of(name, tenant), money, former, wait_s))
    standing = done.standing
    told = _as_json(standing)
    if as_json:
        currency = standing.rule.currency
        print_json({**told, "before": _amount(done.before_nano, currency), "taken": done.taken})
    elif not done.taken:
        say("the limit is written; no worker has taken it yet", style="yellow")
    else:
        limit_now, before = told["limit"], _amount(done.before_nano, standing.rule.currency)
        stdout().print(f"{standing.budget}: {limit_now}, in place of {before}", markup=False)
    if standing.warning and not as_json:
        say(standing.warning, style="yellow")


def _desk(pipeline: str, bootstrap: str | None) -> "BudgetDesk":
    from batuta.streams.budget_desk import BudgetDesk
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.pipelines import shipped_pipeline
    from batuta.streams.settings import load_settings

    connection(bootstrap)
    return BudgetDesk(shipped_pipeline(pipeline), load_settings(bootstrap=bootstrap))


def _money(field: str, text: str) -> "Money":
    """Return the amount that a text says.

    Raises:
        UsageError: it says none.
    """
    from pydantic import TypeAdapter, ValidationError

    from batuta.schemas.errors import UsageError
    from batuta.schemas.pipeline_file.quantities import Money, MoneyText

    reader: TypeAdapter[Money] = TypeAdapter(MoneyText)
    try:
        return reader.validate_python(text)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        also = "; file is that of the pipeline file" if field == "limit" else ""
        raise UsageError(f"{field}: {said}{also}") from None


def _as_json(standing: "BudgetStanding") -> dict[str, object]:
    from batuta.streams.cli.records import when

    account, rule, ahead = standing.account, standing.rule, standing.forecast
    currency = rule.currency
    _, _, tenant = standing.budget.partition("/")
    return {
        "budget": rule.name,
        "tenant": tenant if rule.each_tenant else None,
        "limit": _amount(account.limit_nano, currency),
        "limit_of_file": _amount(rule.limit_nano, currency),
        "set_at": when(account.set_at_ms) if account.set_at_ms else None,
        "per": rule.per,
        "window_start": when(account.window.start_ms),
        "window_end": when(account.window.end_ms),
        "spent": _amount(account.spent_nano, currency),
        "leased": _amount(account.leased_nano, currency),
        "lanes": len({lane for lane, _ in account.leases}),
        "left": _amount(standing.left_nano, currency),
        "step": standing.rung or None,
        "warning": standing.warning or None,
        "ends_at": None if ahead.ends_at_ms is None else when(ahead.ends_at_ms),
        "per_hour": _amount(ahead.rate_nano_per_hour, currency),
        "basis": ahead.basis,
    }


def _print(standing: "BudgetStanding") -> None:
    told = _as_json(standing)
    whose = f" of {told['tenant']}" if told["tenant"] else ""
    by_hand = standing.account.set_by_hand
    set_by = f", set at {told['set_at']}; the file says {told['limit_of_file']}" if by_hand else ""
    ends = told["ends_at"] or f"not before the window turns, {told['window_end']}"
    lines = {
        f"{standing.rule.name}{whose}": f"{told['limit']} per {told['per']}{set_by}",
        "  spent": told["spent"],
        "  leased": f"{told['leased']} to {told['lanes']} lanes",
        "  left": told["left"],
        "  step": told["step"] or "below the first",
        "  ends": f"{ends}, at {told['per_hour']} an hour ({told['basis']})",
    }
    for key, value in lines.items():
        stdout().print(f"{key:16} {value}", markup=False, soft_wrap=True)
    if standing.warning:
        say(f"{standing.rule.name}{whose}: {standing.warning}", style="yellow")


def _amount(amount_nano: int, currency: str) -> str:
    from batuta.agents.budgets.rule import amount_text

    return amount_text(amount_nano, currency)
