"""A small plant of assets and sensors, and what breaks in it: samples.

Each asset has a temperature, a vibration and a pressure, read once a minute. They follow the day,
the asset's own load and some noise. Now and then an asset has a fault, which shows in one sensor:

    spike    some readings far off, as of a knock
    drift    the level climbs away within hours, as of a bearing that wears out
    stuck    the sensor repeats one reading, as of a broken wire

A day is drawn from (seed, day) alone, so any stretch of days can be made again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import orjson

from batuta.agents.evaluation.ranking import Booleans, Numbers
from batuta.agents.samples import Clock, SampleEvent

__all__ = ["Plant", "PlantDay", "PlantPlan", "sensor_samples"]

DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000
_MINUTES: Final = DAY_MS // _MINUTE_MS
_LABEL_AFTER_MS: Final = 7 * DAY_MS
#: Samples begin this long before now, and begin again with another plant when they reach it.
_SAMPLE_DAYS: Final = 5 * 365
#: A plant of samples is small and worn out, so that something is seen within seconds.
_SAMPLE_ASSETS: Final = 8
_SAMPLE_FAULTS: Final = 4.0
_KINDS: Final = ("spike", "drift", "stuck")


@dataclass(frozen=True, slots=True)
class _Sensor:
    """One kind of sensor: its level, how far days and noise move it, and by how much assets differ.

    Attributes:
        fault: how far a fault moves it.
    """

    name: str
    unit: str
    level: float
    daily: float
    noise: float
    fault: float


_SENSORS: Final = (
    _Sensor("temperature", "Cel", level=60.0, daily=8.0, noise=0.6, fault=25.0),
    _Sensor("vibration", "mm/s", level=3.0, daily=0.4, noise=0.15, fault=5.0),
    _Sensor("pressure", "bar", level=6.0, daily=0.3, noise=0.05, fault=-2.5),
)


@dataclass(frozen=True, slots=True)
class PlantPlan:
    """How large a plant is, and how worn out; `seed` tells it from all others."""

    seed: int
    assets: int = 20
    faults_per_asset_day: float = 0.1


@dataclass(frozen=True, slots=True)
class PlantDay:
    """The readings of one day, (minutes, assets, sensors).

    Attributes:
        values: what was measured.
        faulty: whether the reading is part of a fault.
    """

    values: Numbers
    faulty: Booleans


class Plant:
    """Draws the days of one plant."""

    def __init__(self, plan: PlantPlan) -> None:
        self._plan = plan
        random = np.random.default_rng([plan.seed, 0])
        shape = (plan.assets, len(_SENSORS))
        self._levels = np.array([sensor.level for sensor in _SENSORS]) * random.normal(
            1.0, 0.08, shape
        )
        self._phases = random.uniform(0.0, 2.0 * np.pi, (plan.assets, 1))

    def day(self, day: int) -> PlantDay:
        """Return the readings of a day, counted from the plant's first."""
        random = np.random.default_rng([self._plan.seed, 1, day])
        turn = 2.0 * np.pi * np.arange(_MINUTES)[:, None, None] / _MINUTES
        daily = np.array([sensor.daily for sensor in _SENSORS])
        noise = np.array([sensor.noise for sensor in _SENSORS])
        shape = (_MINUTES, self._plan.assets, len(_SENSORS))
        values = self._levels + daily * np.sin(turn + self._phases)
        values = values + noise * random.standard_normal(shape)
        faulty = np.zeros(shape, np.bool_)
        whole, part = divmod(self._plan.faults_per_asset_day, 1.0)
        faults = int(whole) + (random.random(self._plan.assets) < part)
        for asset in np.repeat(np.arange(self._plan.assets), faults).tolist():
            _break(values, faulty, asset, random)
        return PlantDay(np.round(values, 4), faulty)

    def events(
        self, day: PlantDay, start_ms: int, first: int = 0, clock: Clock | None = None
    ) -> Iterator[SampleEvent]:
        """Yield the readings of `day` as events, minute by minute.

        Args:
            day: what to tell.
            start_ms: when the day began, milliseconds since 1970 UTC.
            first: the number of the day's first reading, for ids that are unique.
            clock: where given, each event's time is what it says when it is drawn.
        """
        tag = f"{self._plan.seed:x}"
        number = first
        for minute, (values, faulty) in enumerate(
            zip(day.values.tolist(), day.faulty.tolist(), strict=True)
        ):
            for asset, (readings, marks) in enumerate(zip(values, faulty, strict=True)):
                for sensor, value, mark in zip(_SENSORS, readings, marks, strict=True):
                    time_ms = start_ms + minute * _MINUTE_MS if clock is None else clock()
                    reading_id = f"r-{tag}-{number:09d}"
                    yield _Reading(reading_id, f"a{tag}-{asset}", sensor, value, mark).event(
                        time_ms
                    )
                    number += 1


def sensor_samples(seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
    """Yield readings without end; see `batuta.agents.samples.Samples`."""
    start_ms = (now_ms // DAY_MS - _SAMPLE_DAYS) * DAY_MS
    generation = 0
    while True:
        plant = Plant(PlantPlan(seed + (generation << 64), _SAMPLE_ASSETS, _SAMPLE_FAULTS))
        first = 0
        for number in range(_SAMPLE_DAYS):
            day = plant.day(number)
            yield from plant.events(day, start_ms + number * DAY_MS, first, clock)
            first += day.values.size
        generation += 1


def _break(values: Numbers, faulty: Booleans, asset: int, random: np.random.Generator) -> None:
    sensor = int(random.integers(len(_SENSORS)))
    kind = _KINDS[int(random.integers(len(_KINDS)))]
    begin = int(random.integers(_MINUTES - 60))
    longest = {"spike": 10, "drift": 360, "stuck": 240}[kind]
    rows = slice(begin, min(begin + int(random.integers(longest // 2, longest)), _MINUTES))
    own = values[rows, asset, sensor]
    if kind == "stuck":
        own[:] = own[0]
    elif kind == "spike":
        own += _SENSORS[sensor].fault * random.uniform(0.8, 1.6, len(own))
    else:
        own += _SENSORS[sensor].fault * np.linspace(0.0, 1.5, len(own))
    faulty[rows, asset, sensor] = True


@dataclass(frozen=True, slots=True)
class _Reading:
    reading_id: str
    asset_id: str
    sensor: _Sensor
    value: float
    faulty: bool

    def event(self, time_ms: int) -> SampleEvent:
        data = {
            "reading_id": self.reading_id,
            "event_time": _rfc3339(time_ms),
            "asset_id": self.asset_id,
            "sensor": self.sensor.name,
            "value": self.value,
            "unit": self.sensor.unit,
        }
        label = {
            "reading_id": self.reading_id,
            "label_time": _rfc3339(time_ms + _LABEL_AFTER_MS),
            "anomaly": self.faulty,
        }
        return SampleEvent(
            self.reading_id,
            self.asset_id,
            orjson.dumps(data),
            orjson.dumps(label),
            self.faulty,
        )


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
