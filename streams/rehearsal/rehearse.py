"""Many seeds, over the machine's cores, and what they came to together."""

import gc
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from batuta.agents.pipelines import Shipped
from batuta.streams.rehearsal.budget_play import BudgetPlay
from batuta.streams.rehearsal.happenings import Violation
from batuta.streams.rehearsal.pipeline_play import PipelinePlay
from batuta.streams.rehearsal.plan import FAULT_KINDS
from batuta.streams.rehearsal.reminders import RemindersPlay
from batuta.streams.rehearsal.seed_run import SeedReport, run_seed
from batuta.streams.rehearsal.world import Cast

__all__ = ["Rehearsal", "Total", "cast_of", "quieten_logs"]

_SEEDS_PER_CALL: Final = 4
#: A seed makes and drops a few million objects, hardly any of them in circles.
_COLLECT_AFTER: Final = (50_000, 20, 100)
_DAY_S: Final = 86_400.0
#: Violations that are kept whole; of more only the number is.
_VIOLATIONS_MAX: Final = 1_000


def cast_of(shipped: Shipped, *, budget: bool = False) -> Cast:
    """Return the real parts, to rehearse one pipeline and, beside it, timers.

    Args:
        shipped: the pipeline.
        budget: whether it has a budget, which does not suffice.
    """
    play = BudgetPlay if budget else PipelinePlay
    return Cast((partial(play, shipped), RemindersPlay))


def quieten_logs() -> None:
    """Say nothing of the thousands of warnings that faults on purpose give reason for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)


def _prepare() -> None:
    """Make a process fit for many seeds."""
    quieten_logs()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@dataclass
class Total:
    """What some seeds came to.

    Attributes:
        faults: how many of each kind, all kinds named.
        violations: seed and violation.
        trace_hash: of the last seed.
    """

    seeds: int = 0
    events: int = 0
    simulated_s: float = 0.0
    faults: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(FAULT_KINDS, 0)))
    violations: list[tuple[int, Violation]] = field(default_factory=list[tuple[int, Violation]])
    violation_count: int = 0
    trace_hash: str = ""

    @property
    def simulated_days(self) -> float:
        """Virtual time."""
        return self.simulated_s / _DAY_S

    def add(self, report: SeedReport) -> None:
        """Take in one seed."""
        self.seeds += 1
        self.events += report.events
        self.simulated_s += report.simulated_s
        self.faults.update(report.faults)
        self.violation_count += len(report.violations)
        room = _VIOLATIONS_MAX - len(self.violations)
        self.violations += [(report.seed, violation) for violation in report.violations[:room]]
        self.trace_hash = report.trace_hash


@dataclass(frozen=True)
class Rehearsal:
    """Seeds to be run.

    Attributes:
        load: finds the pipeline, in whichever process it is called.
        jobs: how many processes; 1 is this one.
        budget: whether it is rehearsed under a budget.
    """

    load: Callable[[], Shipped]
    first_seed: int
    seeds: int
    jobs: int
    budget: bool = False

    def run(self, report: Callable[[Total], None]) -> Total:
        """Run every seed and tell `report` after each few."""
        total = Total()
        for reports in self._reports():
            for seed_report in reports:
                total.add(seed_report)
            report(total)
        total.violations.sort(key=lambda found: found[0])
        return total

    def _reports(self) -> Iterator[Sequence[SeedReport]]:
        end = self.first_seed + self.seeds
        if self.jobs == 1:
            _prepare()
            for seed in range(self.first_seed, end):
                yield self._run(seed, seed + 1)
            return
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.jobs, mp_context=spawning, initializer=_prepare) as pool:
            firsts = range(self.first_seed, end, _SEEDS_PER_CALL)
            yield from _as_they_come(pool, self._run, firsts, end)

    def _run(self, first: int, end: int) -> list[SeedReport]:
        """Run some seeds in this process."""
        cast = cast_of(self.load(), budget=self.budget)
        return [run_seed(seed, cast) for seed in range(first, end)]


def _as_they_come(
    pool: ProcessPoolExecutor,
    run: Callable[[int, int], list[SeedReport]],
    firsts: Sequence[int],
    end: int,
) -> Iterator[Sequence[SeedReport]]:
    """Keep the pool busy, and yield what is done."""
    open_calls: set[Future[list[SeedReport]]] = {
        pool.submit(run, first, min(first + _SEEDS_PER_CALL, end)) for first in firsts
    }
    try:
        while open_calls:
            done, open_calls = wait(open_calls, return_when=FIRST_COMPLETED)
            for call in done:
                yield call.result()
    finally:
        for call in open_calls:
            call.cancel()
