"""Labels of samples go out as late as they are in life, by the time of the samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import orjson
import pytest

from batuta.schemas.errors import UsageError
from batuta.schemas.times import parse_rfc3339
from batuta.streams.demo.feedback import Feedback
from batuta.streams.demo.samples import samples_of
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.settings import client_options, load_settings

if TYPE_CHECKING:
    from batuta.agents.pipelines import LoadedPipeline
    from batuta.streams.demo.spoil import Sample

FRAUD = PIPELINES["fraud"]
DAY_MS = 86_400_000


def feedback_of(loaded: LoadedPipeline) -> Feedback:
    return Feedback(client_options(load_settings(bootstrap="127.0.0.1:1")), loaded)


def time_ms(sample: Sample) -> int:
    assert sample.output.value is not None
    return parse_rfc3339(orjson.loads(sample.output.value)["event_time"])


def test_each_fraud_is_labelled_a_week_after_it_and_nothing_else_is() -> None:
    feedback = feedback_of(FRAUD)
    samples = list(samples_of(FRAUD, 3, 40_000, 0.0))
    frauds = {sample.identity for sample in samples if sample.label is not None}
    assert 0 < len(frauds) < 1_000
    at_ms = {sample.identity: time_ms(sample) for sample in samples}
    told: list[str] = []
    for begin in range(0, len(samples), 500):
        block = samples[begin : begin + 500]
        known = feedback.known(block)
        for label in known:
            late_ms = time_ms(block[-1]) - at_ms[label.event_id]
            assert 7 * DAY_MS <= late_ms < 8 * DAY_MS
            assert label.output.topic == "fraud.feedback"
            assert orjson.loads(label.output.value or b"")["fraud"] is True
        told += [label.event_id for label in known]
    left = [label.event_id for label in feedback.rest()]
    assert told
    assert left
    assert len({*told, *left}) == len(told) + len(left)
    assert {*told, *left} == frauds
    assert feedback.rest() == []


def test_spoiled_events_have_no_label() -> None:
    samples = samples_of(FRAUD, 3, 4_000, 1.0)
    assert not any(sample.label for sample in samples)


async def test_a_pipeline_without_labels_tells_none() -> None:
    without = replace(FRAUD, pipeline=FRAUD.pipeline.model_copy(update={"labels": None}))
    feedback = feedback_of(without)
    assert feedback.known(list(islice(samples_of(FRAUD, 3, None, 0.0), 5_000))) == []
    assert feedback.rest() == []
    async with feedback:
        await feedback.publish([])
    assert feedback.published == 0


def test_a_label_without_a_time_is_refused_by_name() -> None:
    feedback = feedback_of(FRAUD)
    (sample,) = samples_of(FRAUD, 3, 1, 0.0)
    with pytest.raises(UsageError, match=r"samples: \{\} has no time in 'label_time'; write it as"):
        feedback.known([sample._replace(label=b"{}")])
