"""One seed from beginning to end: trouble, healing, quiet, and what must be true then."""

import asyncio
from dataclasses import dataclass
from typing import Final

from batuta.streams.rehearsal.happenings import Violation
from batuta.streams.rehearsal.incidents import Fate
from batuta.streams.rehearsal.invariants import check_all
from batuta.streams.rehearsal.plan import Plan, plan_of
from batuta.streams.rehearsal.users import Users
from batuta.streams.rehearsal.virtual_loop import VirtualLoop
from batuta.streams.rehearsal.world import Cast, World

__all__ = ["SeedReport", "bury", "run_seed"]

#: A seed takes about 60,000 calls; one that takes this many goes in circles.
_CALLS_MAX: Final = 3_000_000
#: Once everything has healed, sessions and transactions of the dead end and everything drains.
_QUIET_WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.25
#: Timers that fell due in trouble fire, and what they write is read.
_SETTLE_S: Final = 3.0
_BURIAL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What one seed came to.

    Attributes:
        seed: which.
        events: source records that were sent.
        faults: how many of each kind.
        simulated_s: virtual seconds.
        violations: promises that were not kept.
        trace_hash: the same whenever the seed is run.
        trace: the lines, where they were kept.
    """

    seed: int
    events: int
    faults: dict[str, int]
    simulated_s: float
    violations: tuple[Violation, ...]
    trace_hash: str
    trace: tuple[str, ...] = ()


def run_seed(
    seed: int, cast: Cast, *, plan: Plan | None = None, keep_trace: bool = False
) -> SeedReport:
    """Run one seed on a loop of its own, by its own plan or by another one of the same seed."""
    loop = VirtualLoop(_CALLS_MAX)
    try:
        return loop.run_until_complete(
            _run(loop, plan or plan_of(seed), cast, keep_trace=keep_trace)
        )
    finally:
        loop.close()


async def _run(loop: VirtualLoop, plan: Plan, cast: Cast, *, keep_trace: bool) -> SeedReport:
    world = World(loop, plan, cast, keep_trace=keep_trace)
    rows = [(play.busy_share, play.source_records(plan)) for play in world.plays]
    users = Users(world.house, rows)
    world.declare_topics()
    fate = Fate(world)
    for _ in range(plan.workers):
        world.start_worker()
    fate.begin()
    sending = asyncio.ensure_future(users.send_all(plan.trouble_s, plan.tick_s))
    await asyncio.sleep(plan.trouble_s)
    fate.heal()
    await sending
    is_quiet = await _quiet(world)
    world.happenings.trace.note("world", "quiet" if is_quiet else "not quiet")
    if world.house.broker is not None:
        await check_all(world, users)
    simulated_s = loop.time()
    await bury(world)
    return SeedReport(
        seed=plan.seed,
        events=len(users.acknowledged),
        faults=dict(sorted(world.happenings.faults.items())),
        simulated_s=simulated_s,
        violations=tuple(world.happenings.violations),
        trace_hash=world.happenings.trace.hash,
        trace=tuple(world.happenings.trace.lines or ()),
    )


async def _quiet(world: World) -> bool:
    """Wait until every group has read everything; say so where that does not come."""
    deadline_s = world.loop.time() + _QUIET_WITHIN_S
    while left := world.unread():
        if world.loop.time() > deadline_s:
            world.happenings.violated(
                "everything drains once it has healed",
                f"{_QUIET_WITHIN_S:.0f} s after healing these are unread: {left}; "
                f"{world.troubles()}",
            )
            return False
        await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(_SETTLE_S)
    return True


async def bury(world: World) -> None:
    """Let the processes' code come to its end, so that nothing is left for the next seed."""
    world.network.close()
    left = [task for worker in world.everybody() for task in worker.process.bury()]
    if left:
        await asyncio.wait(left, timeout=_BURIAL_S)
