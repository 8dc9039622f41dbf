"""The figures of a labelled data set without any topic: the pipelines' own tables and models alone.

What `batuta evaluate` must give for the same data, since alignment makes a replay meet events and
labels in this very order. Also how long one takes.

    python benchmarks/offline_evaluation.py fraud ../shared/data/fraud_handbook --seeds 5
    python benchmarks/offline_evaluation.py maintenance ../shared/data/nab --page /tmp/nab.html
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

import numpy as np

from batuta.agents.evaluation.ranking import Numbers
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.data import Transactions
from batuta.agents.fraud.training_history import (
    HISTORY_INPUTS,
    FraudHistory,
    features_when_due,
    fit_forest_on,
)
from batuta.agents.maintenance.data import Readings
from batuta.agents.maintenance.history import MaintenanceHistory
from batuta.agents.maintenance.novelty import empty_memory, surprises
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.cli.evaluate_result import Walked, differences_of, evaluation_as_json, save_page
from batuta.streams.cli.evaluate_screen import figures
from batuta.streams.cli.terminal import print_json, stdout
from batuta.streams.data.histories import read_history, read_oracle

_BATCH = 2_000


def scored(model: OnnxModel, inputs: Numbers) -> Numbers:
    parts = [
        asyncio.run(model.answer(inputs[begin : begin + _BATCH].astype(np.float32)))
        for begin in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts)


def walk_fraud(history: Transactions, features: Numbers, weeks: Weeks, seed: int) -> Walked:
    start_s = time.process_time()
    trained = fit_forest_on(history, features, weeks, seed)
    trained_s = time.process_time()
    tested = np.flatnonzero((history.days >= weeks.test_start) & (history.days < weeks.test_end))
    scores = np.full(len(history), np.nan)
    scores[tested] = scored(OnnxModel.load(trained.data, trained.card), features[tested])
    model_us = (time.process_time() - trained_s) / len(tested) * 1e6
    return Walked(
        trained.card.version,
        scores,
        dict(zip(HISTORY_INPUTS, features.T, strict=True)),
        trained_s - start_s,
        {"model": model_us},
    )


def evaluate_fraud(options: argparse.Namespace) -> None:
    mapping, weeks = FraudHistory(), Weeks(options.train_start)
    history = read_history(mapping, options.data)
    start_s = time.process_time()
    features = features_when_due(history)
    features_us = (time.process_time() - start_s) / len(history) * 1e6
    oracle = read_oracle(mapping, options.data, history)
    each: list[dict[str, float]] = []
    for seed in range(options.seeds):
        walked = walk_fraud(history, features, weeks, seed)
        evaluation = mapping.measure(history, weeks, walked.scores)
        differences = differences_of(walked, oracle) if oracle else None
        result = evaluation_as_json("fraud", walked, evaluation, differences)
        print_json({"seed": seed, "features_us_per_event": round(features_us, 2), **result})
        each.append(dict(evaluation.metrics))
        if seed == 0:
            stdout().print(figures(evaluation))
            if options.page:
                save_page(options.page, "fraud", walked, evaluation)
    mean = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    print(json.dumps({"mean_of_seeds": options.seeds, **mean}))


def surprises_of(readings: Readings) -> Numbers:
    series = readings.by_series(readings.values).values()
    return np.concatenate([surprises(empty_memory(), values.copy()) for values in series])


def evaluate_maintenance(options: argparse.Namespace) -> None:
    mapping = MaintenanceHistory()
    readings = read_history(mapping, options.data)
    start_s = time.process_time()
    scores = surprises_of(readings)
    seconds = time.process_time() - start_s
    cost = {"detector": seconds / len(readings) * 1e6}
    walked = Walked("surprise", scores, {}, seconds, cost)
    evaluation = mapping.measure(readings, Weeks(0), scores)
    print_json(evaluation_as_json("maintenance", walked, evaluation, None))
    stdout().print(figures(evaluation))
    if options.page:
        save_page(options.page, "maintenance", walked, evaluation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", choices=("fraud", "maintenance"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--train-start", type=int, default=115)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    if options.pipeline == "fraud":
        evaluate_fraud(options)
    else:
        evaluate_maintenance(options)


if __name__ == "__main__":
    main()
