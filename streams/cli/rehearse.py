"""`batuta rehearse`: the whole house on a virtual clock, under faults drawn from seeds."""

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Json
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from batuta.streams.rehearsal.rehearse import Rehearsal, Total

__all__ = ["rehearse"]


def rehearse(
    *,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds to run.")
    ] = 100,
    from_seed: Annotated[
        int, typer.Option("--from-seed", metavar="S", min=0, help="The first of them.")
    ] = 1,
    pipeline: Annotated[
        str, typer.Option("--pipeline", metavar="PIPELINE", help="Whose route is rehearsed.")
    ] = "fraud",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="J", min=1, help="Processes; by default one per core."),
    ] = None,
    budget: Annotated[
        bool, typer.Option("--budget", help="Under a budget that pays for a part of the events.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run lanes, agents and broker in one process on virtual time, under faults from seeds.

    A seed that finds something prints the command that repeats it, to the byte.

    Example: batuta rehearse --seeds 1000
    """
    from batuta.streams.cli.pipelines import shipped_pipeline
    from batuta.streams.cli.progress import meter
    from batuta.streams.rehearsal.rehearse import Rehearsal

    shipped_pipeline(pipeline)
    load = partial(shipped_pipeline, pipeline)
    processes = min(seeds, jobs or os.cpu_count() or 1)
    rehearsal = Rehearsal(load, from_seed, seeds, processes, budget)
    with meter("seeds", seeds) as bar:
        total = rehearsal.run(lambda total: bar.reach(total.seeds))
    options = ("" if pipeline == "fraud" else f" --pipeline {pipeline}") + " --budget" * budget
    if as_json:
        print_json(_result(rehearsal, total, options))
    else:
        _show(total, options)
    if total.violation_count:
        leave(Exit.NEGATIVE)


def _repeat(seed: int, options: str) -> str:
    """Return the command that repeats one seed."""
    return f"batuta rehearse --from-seed {seed} --seeds 1{options}"


def _result(rehearsal: "Rehearsal", total: "Total", options: str) -> dict[str, object]:
    result: dict[str, object] = {
        "seeds": total.seeds,
        "from_seed": rehearsal.first_seed,
        "events": total.events,
        "faults": dict(total.faults),
        "simulated_days": round(total.simulated_days, 4),
        "violations": [
            {
                "seed": seed,
                "invariant": violation.invariant,
                "detail": violation.detail,
                "repeat": _repeat(seed, options),
            }
            for seed, violation in total.violations
        ],
        "violation_count": total.violation_count,
    }
    if total.seeds == 1:
        result["trace_hash"] = total.trace_hash
    return result


def _show(total: "Total", options: str) -> None:
    faults = sum(total.faults.values())
    stdout().print(
        f"{total.seeds:,} seeds: {total.events:,} events, {faults:,} faults,"
        f" {total.simulated_days:.2f} simulated days, {total.violation_count:,} violations"
    )
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(total.faults.items()) if count)
    stdout().print(f"faults: {kinds}", soft_wrap=True)
    if total.seeds == 1:
        stdout().print(f"trace hash {total.trace_hash}")
    told: set[int] = set()
    for seed, violation in total.violations:
        if seed not in told:
            told.add(seed)
            say(f"seed {seed}: repeat it with {_repeat(seed, options)}", style="red")
        say(f"  {violation.invariant}: {violation.detail}")
