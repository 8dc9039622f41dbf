"""Contract batteries: what each port of batuta promises, to be called by tests of one's own parts.

    from batuta.streams.testing import check_model
    from my_bank.velocity import Velocity

    def test_velocity() -> None:
        check_model(Velocity(kmh=900), inputs=3)

Each raises AssertionError with a sentence that says which promise is broken.

Models behind a server are tested against one that misbehaves on purpose: its answers are honest, or
contradict, drift, lie with confidence, obey what a text orders, cost ten times the price, heed only
a critique, or fail as the wire does. `BEHAVIOURS` and `FAULTS` say what there is.

    from batuta.streams.testing import ModelServerProcess

    def test_what_lies_never_acts() -> None:
        with ModelServerProcess() as server:
            url = server.url("lies")        # stands in for the url of your model
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import BaseModel, ValidationError

from batuta.agents.policy.checks import Check
from batuta.agents.reasons import BatchReasons, Reasons
from batuta.agents.samples import Samples
from batuta.agents.understanding.features import ContextFeatures, KeyedFeatures
from batuta.agents.understanding.memories import WIDTH_MAX
from batuta.agents.verification.port import BatchCheck, CheckBatch
from batuta.agents.verification.remedies import Repair, RepairBatch
from batuta.schemas.ingested import Ingested
from batuta.schemas.json_schemas import data_schema
from batuta.schemas.notification import Notification
from batuta.streams.adapters.python import PythonModelPart
from batuta.streams.model_server.behaviours import BEHAVIOURS, FAULTS
from batuta.streams.model_server.process import ModelServerProcess
from batuta.streams.model_server.server import ModelServer
from batuta.streams.sinks.port import Sink

__all__ = [
    # A server that misbehaves on purpose
    "BEHAVIOURS",
    "FAULTS",
    "ModelServer",
    "ModelServerProcess",
    # Batteries
    "check_batch_check",
    "check_check",
    "check_feature",
    "check_keyed_feature",
    "check_model",
    "check_reasons",
    "check_repair",
    "check_samples",
    "check_schema",
    "check_sink",
]

_ROWS: Final = (0, 1, 7)
_SAMPLES: Final = 50


def check_schema(schema: type[BaseModel], examples: Iterable[Mapping[str, object]]) -> None:
    """Check a payload schema against events it must accept.

    It exports a JSON Schema, accepts each example, gives the same event again from what it writes,
    and refuses an event without a field that is needed.
    """
    assert issubclass(schema, BaseModel), f"{schema} is no pydantic model"
    assert data_schema(schema).get("type") == "object", "its JSON Schema is no object's"
    tried = 0
    for example in examples:
        event = schema.model_validate(example)
        written = event.model_dump_json()
        again = schema.model_validate_json(written)
        assert again == event, f"{written} is read as another event than it was written from"
        for name, declared in schema.model_fields.items():
            if declared.is_required():
                without = {key: value for key, value in example.items() if key != name}
                assert not _accepts(schema, without), f"an event without {name} is accepted"
        tried += 1
    assert tried, "give at least one example"


def check_model(model: PythonModelPart, inputs: int) -> None:
    """Check a model that sees `inputs` features.

    It answers each batch with one number from 0 to 1 per row, the same for the same rows, whatever
    stands beside them, also for zeros; and leaves what it was given alone.
    """
    random = np.random.default_rng(0)
    for rows in _ROWS:
        given = random.normal(size=(rows, inputs)).astype(np.float32)
        kept = given.copy()
        scores = _answered(model, given)
        assert scores.shape == (rows,), f"{rows} rows are answered with the shape {scores.shape}"
        fit = (scores >= 0.0) & (scores <= 1.0)
        assert bool(np.all(fit)), f"{scores[~fit][:1]} is no score from 0 to 1"
        assert np.array_equal(given, kept), "the model writes into what it was given"
        assert np.allclose(_answered(model, given), scores), "the same rows are answered otherwise"
        if rows > 1:
            alone = _answered(model, given[:1])
            assert np.allclose(alone, scores[:1]), "a row's answer depends on its neighbours"
    zeros = _answered(model, np.zeros((1, inputs), np.float32))
    assert zeros.shape == (1,), "a row of zeros is not answered"


def check_batch_check(
    check: BatchCheck, batch_of: Callable[[Sequence[int]], CheckBatch], rows: int
) -> None:
    """Check a check of answers on a batch that it must know.

    Its reasons are distinct and lower case; it gives one code per answer, 0 or the number of a
    reason, the same for each answer alone; a critique names a row that failed; it leaves what it
    was given alone.

    Args:
        check: the part.
        batch_of: some rows of the batch, fresh each time.
        rows: how many there are.
    """
    reasons = tuple(check.reasons)
    assert reasons, "a check without reasons"
    assert len({*reasons}) == len(reasons), f"a reason stands twice in {reasons}"
    assert all(one == one.lower() and one.isidentifier() for one in reasons), reasons
    everything = list(range(rows))
    batch = batch_of(everything)
    scores, features = batch.scores.copy(), batch.features.copy()
    verdict = check.check(batch)
    codes = np.asarray(verdict.codes)
    assert codes.dtype == np.int8, f"codes of {codes.dtype}, int8 is wanted"
    assert codes.shape == (rows,), f"{rows} rows are answered with the shape {codes.shape}"
    fit = (codes >= 0) & (codes <= len(reasons))
    assert bool(fit.all()), f"{codes[~fit][:1]} is the number of no reason"
    assert np.array_equal(batch.scores, scores, equal_nan=True), "the check writes into the scores"
    assert np.array_equal(batch.features, features, equal_nan=True), (
        "the check writes into the features"
    )
    for row, said in verdict.critiques.items():
        assert codes[row] > 0, f"row {row} passed, and there is a critique of it"
        assert said, f"an empty critique of row {row}; leave it out"
    assert check.check(batch_of([])).codes.shape == (0,), "an empty batch is not answered"
    for row in everything:
        alone = check.check(batch_of([row])).codes
        assert alone.tolist() == [codes[row]], f"row {row} is judged otherwise beside others"


def check_repair(
    repair: Repair, broken: Sequence[tuple[object, float]], reason: str, critique: str = ""
) -> None:
    """Check a repair on answers that it must know.

    It gives one answer for each, a score from 0 to 1 or NaN where it cannot mend it, values that
    are JSON, the same each time and for each answer alone; and leaves what it was given alone.

    Args:
        repair: the part.
        broken: what models answered beside their score, and the score.
        reason: why they did not pass.
        critique: what was wrong with them.
    """
    assert broken, "give at least one answer"

    def mended(rows: Sequence[int]) -> list[tuple[float, object]]:
        batch = RepairBatch(
            [_ingested(row, {}) for row in rows],
            [broken[row][0] for row in rows],
            np.array([broken[row][1] for row in rows], np.float64),
            [(reason,)] * len(rows),
            [critique or reason] * len(rows),
        )
        kept = orjson.dumps(list(batch.values)), batch.scores.copy()
        answers = repair.repair(batch)
        assert orjson.dumps(list(batch.values)) == kept[0], "the repair writes into values"
        assert np.array_equal(batch.scores, kept[1]), "the repair writes into the scores"
        scores = np.asarray(answers.scores, np.float64)
        assert scores.shape == (len(rows),), f"{len(rows)} answers, the shape {scores.shape}"
        fit = (scores >= 0.0) & (scores <= 1.0) | np.isnan(scores)
        assert bool(np.all(fit)), f"{scores[~fit][:1]} is no score from 0 to 1"
        values = list(answers.values) or [None] * len(rows)
        assert len(values) == len(rows), f"{len(values)} values for {len(rows)} answers"
        try:
            orjson.dumps(values)
        except TypeError as error:
            raise AssertionError(f"a value is no JSON: {error}") from error
        return list(zip(scores.tolist(), values, strict=True))

    whole = mended(range(len(broken)))
    assert repr(mended(range(len(broken)))) == repr(whole), "the same answers are mended otherwise"
    for row, found in enumerate(whole):
        assert repr(mended([row])) == repr([found]), f"row {row} is mended otherwise beside others"


def check_feature(feature: ContextFeatures, payloads: Sequence[Mapping[str, object]]) -> None:
    """Check a feature on payloads it must know.

    Its names are distinct and lower case; it gives a finite number per event and name, the same
    for each event alone.
    """
    names = tuple(feature.names)
    assert names, "a feature without names"
    assert len(set(names)) == len(names), f"{names} holds a name twice"
    assert all(name.isidentifier() and name == name.lower() for name in names), f"{names}"
    events = [_ingested(number, payload) for number, payload in enumerate(payloads)]
    assert events, "give at least one payload"
    values = np.asarray(feature.compute(events), np.float64)
    wanted = (len(events), len(names))
    assert values.shape == wanted, f"the shape is {values.shape}, not {wanted}"
    assert bool(np.all(np.isfinite(values))), "a value is not a finite number"
    for number, event in enumerate(events):
        alone = np.asarray(feature.compute([event]), np.float64)
        assert np.array_equal(alone, values[[number]]), "a value depends on its neighbours"
    assert np.asarray(feature.compute([])).shape[0] == 0, "no events are not answered with no rows"


def check_keyed_feature(feature: KeyedFeatures, payloads: Sequence[Mapping[str, object]]) -> None:
    """Check a feature that remembers on the payloads of one series, at least two of them.

    It gives a finite number per event and name, the same however the series is cut into batches;
    all that it knows of the past stands in its memory, whose numbers are finite.
    """
    names = tuple(feature.names)
    assert names, "a feature without names"
    assert len(set(names)) == len(names), f"{names} holds a name twice"
    assert 1 <= feature.width <= WIDTH_MAX, f"the width {feature.width} is not 1 to {WIDTH_MAX}"
    assert all(isinstance(name, str) for name in tuple(feature.per)), f"per holds {feature.per}"
    events = [_ingested(number, payload) for number, payload in enumerate(payloads)]
    assert len(events) > 1, "give at least two payloads"
    memory = np.zeros(feature.width)
    whole = np.asarray(feature.observe(memory, events), np.float64)
    wanted = (len(events), len(names))
    assert whole.shape == wanted, f"the shape is {whole.shape}, not {wanted}"
    assert bool(np.all(np.isfinite(whole))), "a value is not a finite number"
    assert bool(np.all(np.isfinite(memory))), "what it remembers is not finite"
    one_by_one = np.zeros(feature.width)
    parts = [np.asarray(feature.observe(one_by_one, [event]), np.float64) for event in events]
    assert np.array_equal(np.concatenate(parts), whole), "a value depends on how batches are cut"
    assert np.array_equal(one_by_one, memory), "what it remembers depends on how batches are cut"


def check_check(check: Check, inputs: int) -> None:
    """Check a check of answers to `inputs` features: one truth value per row."""
    random = np.random.default_rng(0)
    for rows in _ROWS:
        scores, features = random.random(rows), random.normal(size=(rows, inputs))
        passed = np.asarray(check.passes(scores, features))
        assert passed.shape == (rows,), f"{rows} rows are answered with the shape {passed.shape}"
        assert passed.dtype == np.bool_, f"the answers are {passed.dtype}, not truth values"


def check_sink(sink: Sink, notification: Notification) -> None:
    """Check a sink: it has a channel, takes a notification, also twice, and closes."""
    assert sink.channel, "a sink without a channel"
    assert inspect.iscoroutinefunction(sink.deliver), "deliver is no coroutine function"
    assert inspect.iscoroutinefunction(sink.close), "close is no coroutine function"

    async def use() -> None:
        await sink.deliver(notification)
        await sink.deliver(notification)
        await sink.close()

    asyncio.run(use())


def check_reasons(reasons: Reasons, features: Mapping[str, float]) -> None:
    """Check reasons on some features: codes in snake_case, each with a text; nothing is needed."""
    for seen in (features, {}):
        for code in reasons.codes_of(seen):
            assert code.isidentifier(), f"{code!r} is no code"
            assert code == code.lower(), f"{code!r} is no code"
            assert reasons.text_of(code), f"{code} has no text"
    if features and isinstance(reasons, BatchReasons):
        twice = {name: np.full(2, value, np.float64) for name, value in features.items()}
        told, each = list(reasons.codes_of_all(twice)), reasons.codes_of(features)
        assert told == [each, each], f"codes_of_all answers {told}, codes_of {each}"
    assert reasons.text_of("score_low"), "a code that all pipelines share has no text"


def check_samples(samples: Samples, schema: type[BaseModel], now_ms: int) -> None:
    """Check a generator: the same seed gives the same events, each of them fits the schema."""
    first = list(islice(samples(7, now_ms), _SAMPLES))
    assert first == list(islice(samples(7, now_ms), _SAMPLES)), "one seed gives different events"
    assert len({event.event_id for event in first}) == len(first), "an event id comes twice"
    other = {event.event_id for event in islice(samples(8, now_ms), _SAMPLES)}
    assert other.isdisjoint(event.event_id for event in first), "two seeds give the same ids"
    for event in first:
        schema.model_validate_json(event.data)


def _accepts(schema: type[BaseModel], example: Mapping[str, object]) -> bool:
    try:
        schema.model_validate(example)
    except ValidationError:
        return False
    return True


def _answered(model: PythonModelPart, given: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    async def ask() -> object:
        answer = model.answer(given)
        return await answer if inspect.isawaitable(answer) else answer

    return np.asarray(asyncio.run(ask()), np.float64)


def _ingested(number: int, payload: Mapping[str, object]) -> Ingested:
    return Ingested(
        event_id=f"e{number}",
        entity="entity",
        scoring_key="key",
        event_time_ms=1_522_577_863_000 + number,
        published_ms=0,
        tenant="default",
        data=payload,
        features={},
    )
