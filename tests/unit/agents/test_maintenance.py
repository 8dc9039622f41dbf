"""The maintenance pipeline's parts: a plant that breaks now and then, and who notices."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from batuta.agents.evaluation.ranking import roc_auc
from batuta.agents.maintenance.data import readings_of
from batuta.agents.maintenance.features import SurpriseFeature
from batuta.agents.maintenance.generator import Plant, PlantPlan, sensor_samples
from batuta.agents.maintenance.model import SurpriseModel, score_of_surprise, surprise_of_score
from batuta.agents.maintenance.novelty import empty_memory, surprises
from batuta.agents.maintenance.reasons import MaintenanceReasons
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.part_steps import KeyedStep
from batuta.agents.understanding.steps import Surroundings
from batuta.schemas.errors import UsageError
from batuta.schemas.ingested import Ingested
from batuta.schemas.maintenance import AnomalyLabel, SensorReading

NOW_MS = 1_795_000_000_000


def test_samples_are_of_our_schemas_in_order_and_the_same_each_time() -> None:
    samples = list(islice(sensor_samples(5, NOW_MS), 2_000))
    assert samples == list(islice(sensor_samples(5, NOW_MS), 2_000))
    assert len({sample.event_id for sample in samples}) == 2_000
    readings = [SensorReading.model_validate_json(sample.data) for sample in samples]
    labels = [AnomalyLabel.model_validate_json(sample.label) for sample in samples]
    times = [reading.event_time for reading in readings]
    assert times == sorted(times)
    for sample, reading, label in zip(samples, readings, labels, strict=True):
        assert sample.event_id == reading.reading_id == label.reading_id
        assert sample.key == reading.asset_id
        assert sample.positive is label.anomaly
    other = {sample.event_id for sample in islice(sensor_samples(6, NOW_MS), 2_000)}
    assert not other & {sample.event_id for sample in samples}


def test_samples_tell_the_clocks_time_where_there_is_one() -> None:
    ticks = iter(range(NOW_MS, NOW_MS + 3_000, 1_000))
    samples = list(islice(sensor_samples(1, NOW_MS, lambda: next(ticks)), 3))
    times = [SensorReading.model_validate_json(one.data).event_time for one in samples]
    assert len(set(times)) == 3


def test_most_faults_that_can_be_seen_are_told_and_few_others() -> None:
    plant = Plant(PlantPlan(7))
    memories = [empty_memory() for _ in range(60)]
    told: list[float] = []
    incidents: list[bool] = []
    for number in range(14):
        day = plant.day(number)
        series = day.values.reshape(len(day.values), 60).T
        found = [
            surprises(memory, values.copy())
            for memory, values in zip(memories, series, strict=True)
        ]
        if number < 3:
            continue
        told += [float(surprise.max()) for surprise in found]
        incidents += day.faulty.any(axis=0).reshape(-1).tolist()
    assert 5 < sum(incidents) < 60
    assert roc_auc(np.array(incidents), np.array(told)) > 0.8


async def test_a_score_keeps_the_order_of_surprises() -> None:
    surprises = np.array([0.0, 1e-3, 3.5, 40.0, 40.5])
    scores = await SurpriseModel().answer(surprises.astype(np.float32)[:, None])
    assert scores[[0, 2]].tolist() == [0.0, 0.5]
    assert bool(np.all(np.diff(scores) > 0))
    assert bool(np.all(scores < 1.0))
    np.testing.assert_allclose(surprise_of_score(score_of_surprise(surprises)), surprises)


def test_each_sensor_of_each_tenants_asset_has_a_memory_of_its_own() -> None:
    step, table = KeyedStep(SurpriseFeature(), "history"), MemoryTable(b"m")

    def seen(tenant: str, sensor: str, value: float) -> float:
        data = {"sensor": sensor, "value": value}
        event = Ingested("r", "pump", "pump", NOW_MS, NOW_MS, tenant, data, {})
        rows = EventRows([event], {}, "event_time")
        assert step.take(rows, Surroundings(memories=table)) is None
        return float(np.asarray(rows.column("surprise").values)[0])

    table.begin()
    for number in range(300):
        for tenant, sensor, level in (("", "flow", 1.0), ("", "heat", 50.0), ("x", "flow", 900.0)):
            assert seen(tenant, sensor, level + number % 7) < 2.0
    assert len(table) == 3
    unusual = seen("", "flow", 50.0)
    reasons = MaintenanceReasons()
    (code,) = reasons.codes_of({"surprise": unusual})
    assert reasons.text_of(code).startswith("the sensor")
    assert reasons.codes_of({"surprise": 0.0}) == ()


SERIES = {
    "series": np.array(["b", "a", "a", "a", "b"]),
    "row": np.array([0, 2, 0, 1, 1]),
    "timestamp": np.array(
        ["2014-01-01T00", "2014-01-01T01", "2014-01-01T00", "2014-01-01T01", "2014-01-01T01"],
        "datetime64[ms]",
    ),
    "value": np.array([10.0, 3.0, 1.0, 2.0, 11.0]),
}


def test_a_window_is_rows_the_last_ones_where_times_repeat() -> None:
    windows = {"a": [["2014-01-01 00:00:00.000000", "2014-01-01 01:00:00.000000"]], "b": []}
    readings = readings_of(SERIES, windows)
    assert readings.values.tolist() == [1.0, 2.0, 3.0, 10.0, 11.0]
    assert [(one.name, one.rows, one.windows) for one in readings.corpus] == [
        ("a", 3, ((0, 2),)),
        ("b", 2, ()),
    ]
    assert readings.positive.tolist() == [True, True, True, False, False]
    assert readings.entities.tolist() == [0, 0, 0, 1, 1]
    events = list(readings.events())
    assert [event.event_id for event in events] == ["a#0", "a#1", "a#2", "b#0", "b#1"]
    reading = SensorReading.model_validate_json(events[4].data)
    assert (reading.asset_id, reading.value) == ("b", 11.0)
    assert AnomalyLabel.model_validate_json(events[0].label).anomaly
    assert readings.by_series(readings.values)["b"].tolist() == [10.0, 11.0]


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([], "does not map series to pairs of times"),
        ({"a": []}, "says nothing of 'b'"),
        ({"a": [["2014-01-01 00:00:00", "2015-01-01 00:00:00"]], "b": []}, "no row at 2015"),
        ({"a": [["yesterday", "today"]], "b": []}, "'yesterday' of a is no time"),
    ],
)
def test_windows_that_are_not_of_these_series_are_refused(windows: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        readings_of(SERIES, windows)
