"""What rounds come to: medians, spread and ratios, and how they are shown."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yardstick.engines import Engine, Launch
    from yardstick.rounds import Round

__all__ = ["compare", "summary", "table"]

OURS = "batuta"
LIMIT = "limit"


def summary(engine: Engine, launch: Launch, rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the medians of an engine's rounds, their spread, and what it is."""
    cpu = [one.cpu_us_per_event for one in rounds]
    rate = [one.events_per_second for one in rounds]
    return {
        "cpu_us_per_event": round(statistics.median(cpu), 2),
        "cpu_us_per_event_min_max": [round(min(cpu), 2), round(max(cpu), 2)],
        "events_per_second": round(statistics.median(rate)),
        "events_per_second_min_max": [round(min(rate)), round(max(rate))],
        "guarantee": engine.guarantee,
        "state": engine.state,
        "settings": engine.settings,
        "version": launch.version,
        "rounds": [asdict(one) for one in rounds],
    }


def compare(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """Return ours / theirs in CPU per event: medians over the rounds both have run."""
    ours = rounds.get(OURS, ())
    return {
        name: round(
            statistics.median(
                mine.cpu_us_per_event / their.cpu_us_per_event
                for mine, their in zip(ours, theirs, strict=False)
            ),
            4,
        )
        for name, theirs in rounds.items()
        if name != OURS and theirs and ours
    }


def table(report: Mapping[str, Any]) -> str:
    """Return a report as a table for people."""
    head = f"{'engine':22s} {'CPU-us/event':>14s} {'min..max':>15s} {'events/s':>10s}  ours/theirs"
    lines = [head]
    limits = report["limit"]["loops"]
    for name, one in {**report["engines"], **limits}.items():
        low, high = one["cpu_us_per_event_min_max"]
        ratio = report["ratios"].get(name, limits.get(name, {}).get("ratio"))
        lines.append(
            f"{name:22s} {one['cpu_us_per_event']:14.2f} {f'{low:.1f}..{high:.1f}':>15s} "
            f"{one['events_per_second']:10,d}  {'' if ratio is None else f'{ratio:.3f}':8s}"
            f"  {one['guarantee']}; {one['state']}"
        )
    if (compute := report["limit"].get("compute_cpu_us_per_event")) is not None:
        lines.append(f"{'the work alone':22s} {compute:14.2f}")
    lines += [f"{name}: NO FIGURE: {why}" for name, why in report["failed"].items()]
    return "\n".join(lines)
