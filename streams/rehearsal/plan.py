"""The plan of one seed: how large the world is, what happens to it, and when.

Most seeds are coarse: users send in few, large bursts and trouble comes with them, so that little
time goes into batches of a record or two. One in eight is fine: many small batches over a longer
time, with trouble at any moment.

Everything that chance decides is drawn here or from the streams of chance named here, so that a
change in one of them leaves the others as they were.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

__all__ = [
    "FAULT_KINDS",
    "FaultKind",
    "Incident",
    "IncidentKind",
    "Plan",
    "Weather",
    "fine_plan_of",
    "plan_of",
]

IncidentKind = Literal["crash", "freeze", "leave", "torn_write", "refused_output", "clock_jump"]
_NetworkFault = Literal[
    "delay", "duplicate", "late_request", "lost_reply", "lost_request", "reorder"
]
_OutsideFault = Literal["model_failure", "rebalance", "sink_failure"]
FaultKind = IncidentKind | _NetworkFault | _OutsideFault
#: Every kind of fault, as the report counts them.
FAULT_KINDS: Final[tuple[FaultKind, ...]] = (
    "clock_jump",
    "crash",
    "delay",
    "duplicate",
    "freeze",
    "late_request",
    "leave",
    "lost_reply",
    "lost_request",
    "model_failure",
    "rebalance",
    "refused_output",
    "reorder",
    "sink_failure",
    "torn_write",
)

_INCIDENT_KINDS: Final[tuple[IncidentKind, ...]] = (
    "crash",
    "crash",
    "freeze",
    "leave",
    "torn_write",
    "refused_output",
    "clock_jump",
)
_INCIDENTS_MIN: Final = 5
_INCIDENTS_MAX: Final = 8
_EVENTS_MIN: Final = 500
_EVENTS_MAX: Final = 560
_FINE_SHARE: Final = 1 / 8
#: Of the seconds of a fine plan the first and the last few are without incidents.
_FINE_TROUBLE_S: Final = 30.0
_CALM_S: Final = 2.0
_COARSE_TROUBLE_S: Final = 15.0
#: Most incidents of a coarse plan come so soon after a burst; the others at any time.
_WITH_BURST_SHARE: Final = 0.8
_AFTER_BURST_S: Final = 0.15
#: Polls that wait longer than this would outlast the time in which everything settles.
_LONG_POLL_MS: Final = 2_500


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that happens to a worker or the broker.

    Attributes:
        at_s: when, in virtual seconds.
        worker: which of the workers there are then, counted modulo their number.
        calls: how many more calls of the victim are made first: it may be hit at any await.
        lasts_s: for how long.
        size: how much of it, 0 to 1; each kind reads it in its own way.
    """

    kind: IncidentKind
    at_s: float
    worker: int
    calls: int
    lasts_s: float
    size: float


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely a single request, model call or delivery is hit, 0 to 1."""

    delay: float = 0.0
    duplicate: float = 0.0
    late_request: float = 0.0
    lost_reply: float = 0.0
    lost_request: float = 0.0
    reorder: float = 0.0
    model_failure: float = 0.0
    sink_failure: float = 0.0

    @property
    def of_requests(self) -> float:
        """How likely a request is hit by anything."""
        return (
            self.delay
            + self.duplicate
            + self.late_request
            + self.lost_reply
            + self.lost_request
            + self.reorder
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The world of one seed.

    Attributes:
        partitions: of every topic.
        workers: how many there are at first, and again after each crash.
        events: source records, at least 500.
        trouble_s: for how long events come and faults happen; then everything heals.
        tick_s: how far apart users send; longer ticks make larger batches.
        settings: what the workers are given beside the rehearsal's own settings.
    """

    seed: int
    partitions: int
    workers: int
    events: int
    trouble_s: float
    tick_s: float
    settings: Mapping[str, object]
    weather: Weather
    incidents: tuple[Incident, ...]

    def chance(self, stream: str) -> Random:
        """Return a stream of chance of its own, the same at each call."""
        return Random(f"{self.seed}/{stream}")  # noqa: S311  to be repeated, not to be secret


def plan_of(seed: int) -> Plan:
    """Draw the plan of a seed."""
    random = Random(f"{seed}/grain")  # noqa: S311  to be repeated, not to be secret
    return fine_plan_of(seed) if random.random() < _FINE_SHARE else _coarse_plan_of(seed)


def fine_plan_of(seed: int) -> Plan:
    """Draw a plan of many small batches."""
    random = _random(seed)
    return Plan(
        seed=seed,
        partitions=random.choice((1, 2, 2, 3)),
        workers=random.choice((2, 2, 3)),
        events=random.randint(_EVENTS_MIN, _EVENTS_MAX),
        trouble_s=_FINE_TROUBLE_S,
        tick_s=random.choice((0.5, 1.0, 1.5, 2.0, 3.0)),
        settings={
            "batch_records_max": random.choice((7, 30, 100, 500)),
            "batches_in_flight_max": random.choice((1, 2, 3)),
        },
        weather=_weather(random),
        incidents=_incidents(random, lambda: random.uniform(_CALM_S, _FINE_TROUBLE_S - _CALM_S)),
    )


def _coarse_plan_of(seed: int) -> Plan:
    random = _random(seed)
    tick_s = random.choice((3.0, 4.0, 5.0))

    def at_s() -> float:
        if random.random() >= _WITH_BURST_SHARE:
            return random.uniform(0.0, _COARSE_TROUBLE_S)
        burst = random.randrange(int(_COARSE_TROUBLE_S / tick_s))
        return burst * tick_s + random.uniform(0.0, _AFTER_BURST_S)

    return Plan(
        seed=seed,
        partitions=random.choice((1, 2)),
        workers=random.choice((2, 2, 2, 3)),
        events=random.randint(_EVENTS_MIN, _EVENTS_MAX),
        trouble_s=_COARSE_TROUBLE_S,
        tick_s=tick_s,
        settings={
            "batch_records_max": random.choice((100, 500)),
            "batches_in_flight_max": random.choice((1, 2, 3)),
            "poll_timeout_ms": _LONG_POLL_MS,
            "fetch_wait_ms_max": _LONG_POLL_MS,
        },
        weather=_weather(random),
        incidents=_incidents(random, at_s),
    )


def _random(seed: int) -> Random:
    return Random(f"{seed}/plan")  # noqa: S311  to be repeated, not to be secret


def _weather(random: Random) -> Weather:
    """Draw a mood for each kind: mostly none, sometimes a lot."""

    def mood(most: float) -> float:
        return random.choice((0.0, 0.0, 0.1, 0.3, 1.0)) * most

    return Weather(
        delay=mood(0.05),
        duplicate=mood(0.03),
        late_request=mood(0.01),
        lost_reply=mood(0.01),
        lost_request=mood(0.01),
        reorder=mood(0.1),
        model_failure=mood(0.05),
        sink_failure=mood(0.05),
    )


def _incidents(random: Random, at_s: Callable[[], float]) -> tuple[Incident, ...]:
    drawn = [
        Incident(
            kind=random.choice(_INCIDENT_KINDS),
            at_s=at_s(),
            worker=random.randrange(6),
            calls=random.randrange(1, 300),
            lasts_s=random.choice((0.3, 2.0, 5.0)) * random.uniform(0.5, 1.5),
            size=random.random(),
        )
        for _ in range(random.randint(_INCIDENTS_MIN, _INCIDENTS_MAX))
    ]
    return tuple(sorted(drawn, key=lambda incident: incident.at_s))
