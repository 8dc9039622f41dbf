"""The saved page of an evaluation: one HTML file with its curves drawn in it, nothing loaded.

Inline SVG, no script, no font, no address: the page reads the same in ten years, offline, in print,
and in the dark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from string import Template
from typing import Final

import numpy as np

from batuta.agents.evaluation.ranking import Numbers
from batuta.agents.evaluation.report import Chart, Evaluation, Line

__all__ = ["page_of", "shown"]

_WIDTH: Final = 640
_HEIGHT: Final = 360
_LEFT: Final = 64
_RIGHT: Final = 28
_TOP: Final = 34
_BOTTOM: Final = 48
_LEGEND: Final = 180
_TICKS: Final = 5
#: Told apart without colour as well: each line has a dash pattern of its own.
_STROKES: Final = (("first", "none"), ("second", "7 4"), ("third", "2 4"))

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d5dae0;
  --mute: #57606a; --first: #0b6bcb; --second: #b45309; --third: #5b7f2b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d;
  --mute: #9aa4af; --first: #58a6ff; --second: #f0883e; --third: #8ccf4d; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 1rem; color: var(--mute); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .5rem; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
tr.ours { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content auto; gap: .15rem 1rem; margin: 0; }
dt { color: var(--mute); } dd { margin: 0; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--mute); }
.grid { stroke: var(--faint); stroke-width: 1; } .axis { stroke: var(--mute); stroke-width: 1; }
.line { fill: none; stroke-width: 2; }
.first { stroke: var(--first); } .second { stroke: var(--second); } .third { stroke: var(--third); }
@media (max-width: 36rem) { svg text { font-size: 19px; } .line { stroke-width: 3; } }
</style>
</head>
<body>
<h1>$title</h1>
<p>$subtitle</p>
$figures
<h2>What was measured</h2>
$facts
$charts
</body>
</html>
""")


def page_of(title: str, subtitle: str, evaluation: Evaluation) -> str:
    """Return the page of an evaluation.

    Args:
        title: what was evaluated.
        subtitle: by which model, when.
        evaluation: what was found.
    """
    return _PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        figures=_figures(evaluation),
        facts=_facts(evaluation.facts),
        charts="\n".join(_chart(chart) for chart in evaluation.charts),
    )


def shown(value: float | str) -> str:
    """Return a figure as people read it.

    >>> shown(0.65793), shown(69.98778), shown(58264), shown("115-121")
    ('0.658', '70.0', '58,264', '115-121')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 10.0 else f"{value:,.1f}"  # noqa: PLR2004 - digits shown


def _figures(evaluation: Evaluation) -> str:
    names = list(evaluation.metrics)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = [_row(evaluation.name, evaluation.metrics, names, "ours")]
    rows += [_row(other.name, other.metrics, names, "") for other in evaluation.published]
    return (
        f"<table>\n<tr><th></th>{head}</tr>\n" + "\n".join(rows) + "\n</table>"
        "\n<p>All rows but the first are figures that others published.</p>"
    )


def _row(name: str, metrics: Mapping[str, float], names: Sequence[str], kind: str) -> str:
    values = (shown(metrics[one]) if one in metrics else "" for one in names)
    cells = "".join(f"<td>{value}</td>" for value in values)
    opening = f'<tr class="{kind}">' if kind else "<tr>"
    return f"{opening}<td>{escape(name)}</td>{cells}</tr>"


def _facts(facts: Mapping[str, int | float | str]) -> str:
    rows = (
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(shown(value))}</dd>"
        for name, value in facts.items()
    )
    return "<dl>\n" + "\n".join(rows) + "\n</dl>"


# Charts


@dataclass(frozen=True, slots=True)
class _Axis:
    """One direction of a chart: from which value to which, and where these lie on the paper."""

    low: float
    high: float
    begin: float
    end: float

    def place(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        step = _round_step((self.high - self.low) / _TICKS)
        first = np.ceil(self.low / step - 1e-9) * step
        return [float(tick) for tick in np.arange(first, self.high + step * 1e-6, step)]


def _round_step(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(power * one for one in (1.0, 2.0, 5.0, 10.0) if power * one >= step * 0.999))


def _chart(chart: Chart) -> str:
    x = _axis([line.curve.xs for line in chart.lines], _LEFT, _WIDTH - _RIGHT)
    y = _axis([line.curve.ys for line in chart.lines], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f"<h2>{escape(chart.title)}</h2>",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *(_vertical(x.place(tick), _tick_text(x, tick)) for tick in x.ticks()),
        *(_horizontal(y.place(tick), _tick_text(y, tick)) for tick in y.ticks()),
        *_frame(chart),
        *(_line(line, x, y, number) for number, line in enumerate(chart.lines)),
        *(_legend(chart.lines) if len(chart.lines) > 1 else ()),
        "</svg>",
    ]
    return "\n".join(parts)


def _frame(chart: Chart) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    across = f'x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}"'
    return [
        f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>',
        f'<text {across} text-anchor="middle">{escape(chart.x_label)}</text>',
        f'<text x="4" y="{_TOP - 16}">{escape(chart.y_label)}</text>',
    ]


def _axis(values: Sequence[Numbers], begin: float, end: float) -> _Axis:
    every = np.concatenate([*values, np.zeros(1)])
    low, high = float(every.min()), float(every.max())
    step = _round_step((high - low if high > low else 1.0) / _TICKS)
    low, high = np.floor(low / step + 1e-9) * step, np.ceil(high / step - 1e-9) * step
    return _Axis(float(low), float(max(high, low + step)), begin, end)


def _tick_text(axis: _Axis, tick: float) -> str:
    step = _round_step((axis.high - axis.low) / _TICKS)
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    return f"{tick + 0.0:,.{digits}f}"


def _vertical(x: float, text: str) -> str:
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{text}</text>'
    )


def _horizontal(y: float, text: str) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _line(line: Line, x: _Axis, y: _Axis, number: int) -> str:
    name, dashes = _STROKES[number % len(_STROKES)]
    places = [
        f"{x.place(one):.1f} {y.place(other):.1f}"
        for one, other in zip(line.curve.xs.tolist(), line.curve.ys.tolist(), strict=True)
    ]
    kept = places[:1] + [after for before, after in pairwise(places) if after != before]
    drawn = "M" + "L".join(kept)
    return f'<path class="line {name}" stroke-dasharray="{dashes}" d="{drawn}"/>'


def _legend(lines: Sequence[Line]) -> list[str]:
    parts: list[str] = []
    for number, line in enumerate(lines):
        name, dashes = _STROKES[number % len(_STROKES)]
        x, y = _WIDTH - _RIGHT - _LEGEND, _TOP + 20 + 18 * number
        parts.append(
            f'<path class="line {name}" stroke-dasharray="{dashes}" '
            f'd="M{x} {y}h28"/>'
            f'<text x="{x + 36}" y="{y + 4}">{escape(line.name)}</text>'
        )
    return parts
