"""How surprising each value of one series is beside all that came before it; compiled.

Two views of a series are watched: the value itself, and its exponential mean (smoothing 0.05). Each
keeps a net: a bounded set of the values it has seen, no two closer than a hundredth of the spread.
The novelty of a value is its distance to the nearest point of the net in standard deviations, so
what came once is familiar for ever, be it a daily peak or a level of last month. How rare such a
novelty is tells a decaying histogram of the view's own novelties:

    surprise of a view = -log10(share of earlier novelties as large) + ln(1 + 3 novelty)
    surprise of a row  = that of the value + half of that of the mean

The distance to the nearest neighbour as a measure of anomaly: Knorr and Ng, Algorithms for Mining
Distance-Based Outliers (1998); its tail by own history: Laxhammar and Falkman, Conformal Prediction
for Distribution-Independent Anomaly Detection in Streaming Vessel Data (2010).

An incident is told once: within `QUIET_ROWS` of a row that was told, only one that is more
surprising is told again, and all others answer 0. Nothing looks ahead, nothing is tuned to a
series, and the memory of a series has a fixed size.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.compiled import compiled

__all__ = ["QUIET_ROWS", "WARM_UP_ROWS", "WIDTH", "Memory", "empty_memory", "surprises"]

#: Everything that is remembered of one series: WIDTH numbers, laid out as below.
Memory = npt.NDArray[np.float64]

#: So many rows are only learnt from.
WARM_UP_ROWS: Final = 100
#: How many rows an incident lasts after the last row that was told.
QUIET_ROWS: Final = 100
_SMOOTHING: Final = 0.05
#: Mean and spread of a view forget at this rate once there were a thousand rows.
_FORGETTING: Final = 0.001
_POINTS: Final = 128
#: How close a point of the net may be to another one, in standard deviations.
_MESH: Final = 0.01
#: Novelties are told apart from the least to the most, in standard deviations, on a log scale.
_BINS: Final = 32
_NOVELTY_MIN: Final = 0.003
_NOVELTY_MAX: Final = 3.0
_BIN_KEPT: Final = 0.5 ** (1 / 5_000)
_DISTANCE_WEIGHT: Final = 3.0
_MEAN_WEIGHT: Final = 0.5
#: Of a flat series: what rounding makes of equal values is no difference.
_ROUNDING: Final = 1e-9

# A memory: rows seen, the exponential mean, the row last told and its surprise; then two views,
# each of mean, variance, how many points, the histogram's mass, the points sorted, the bins.
_ROWS, _SMOOTHED, _TOLD, _PEAK, _VIEWS = range(5)
_MEAN, _VARIANCE, _COUNT, _MASS, _NET = range(5)
_HISTOGRAM: Final = _NET + _POINTS + 1
_VIEW_WIDTH: Final = _HISTOGRAM + _BINS
WIDTH: Final = _VIEWS + 2 * _VIEW_WIDTH


def empty_memory() -> Memory:
    """Return the memory of a series of which nothing was seen."""
    memory = np.zeros(WIDTH)
    memory[_TOLD] = -QUIET_ROWS
    return memory


@compiled
def surprises(memory: Memory, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take values of one series in, in order; return what is told of each.

    Args:
        memory: of the series, changed in place.
        values: finite.
    """
    told = np.zeros(len(values))
    for i in range(len(values)):
        row, value = memory[_ROWS], values[i]
        pace = max(_SMOOTHING, 1.0 / (row + 1.0))
        memory[_SMOOTHED] += pace * (value - memory[_SMOOTHED])
        first = _surprise(memory[_VIEWS : _VIEWS + _VIEW_WIDTH], row, value)
        second = _surprise(memory[_VIEWS + _VIEW_WIDTH :], row, memory[_SMOOTHED])
        surprise = first + _MEAN_WEIGHT * second
        if row - memory[_TOLD] >= QUIET_ROWS or surprise > memory[_PEAK]:
            memory[_TOLD], memory[_PEAK] = row, surprise
            told[i] = surprise
        memory[_ROWS] = row + 1.0
    return told


@compiled
def _surprise(view: Memory, row: float, value: float) -> float:
    novelty = _novelty(view, row, value)
    if row < WARM_UP_ROWS:
        novelty = 0.0
    level = 0
    if novelty > _NOVELTY_MIN:
        scale = math.log(novelty / _NOVELTY_MIN) / math.log(_NOVELTY_MAX / _NOVELTY_MIN)
        level = min(_BINS - 1, 1 + int((_BINS - 1) * scale))
    surprise = math.log1p(_DISTANCE_WEIGHT * novelty)
    if level > 0:
        above = 0.0
        for i in range(level, _BINS):
            above += view[_HISTOGRAM + i]
        surprise -= math.log10((above + 0.5) / (view[_MASS] + 1.0))
    for i in range(_BINS):
        view[_HISTOGRAM + i] *= _BIN_KEPT
    view[_HISTOGRAM + level] += 1.0
    view[_MASS] = view[_MASS] * _BIN_KEPT + 1.0
    return surprise


@compiled
def _novelty(view: Memory, row: float, value: float) -> float:
    """Return the distance of a value to the net in standard deviations, and add it to the net."""
    pace, step = max(_FORGETTING, 1.0 / (row + 1.0)), value - view[_MEAN]
    view[_VARIANCE] = (1.0 - pace) * (view[_VARIANCE] + pace * step * step)
    view[_MEAN] += pace * step
    least = _ROUNDING * (1.0 + abs(view[_MEAN]))
    spread = max(math.sqrt(view[_VARIANCE]), least)
    count = int(view[_COUNT])
    net = view[_NET : _NET + _POINTS + 1]
    place = int(np.searchsorted(net[:count], value))
    nearest = math.inf
    if place < count:
        nearest = net[place] - value
    if place > 0:
        nearest = min(nearest, value - net[place - 1])
    if nearest > _MESH * spread:
        _add(view, net, place, value)
    if count == 0 or nearest <= least:
        return 0.0
    return float(nearest / spread)


@compiled
def _add(view: Memory, net: Memory, place: int, value: float) -> None:
    """Put a value in its place; of a full net, give up a point of the closest two, but no end."""
    count = int(view[_COUNT])
    for i in range(count, place, -1):
        net[i] = net[i - 1]
    net[place] = value
    if count < _POINTS:
        view[_COUNT] = count + 1
        return
    closest = 1
    for i in range(2, count + 1):
        if net[i] - net[i - 1] < net[closest] - net[closest - 1]:
            closest = i
    for i in range(min(closest, count - 1), count):
        net[i] = net[i + 1]
    net[count] = 0.0
