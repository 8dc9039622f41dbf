"""Array code for simple expressions: whole batches at once, equal to CEL row by row.

Three-valued as CEL is: each answer comes with where it failed. `a && b` is false where either is
false, whatever became of the other, and `a || b` true likewise. Comparisons with NaN are false,
division of doubles never fails. Arithmetic of whole numbers can overflow, so it stays with CEL.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from batuta.agents.policy.checked_tree import Call, Constant, Items, Name, Node, Select
from batuta.agents.policy.names import Column, Flags, Names, Rows, Values

__all__ = ["ArrayCode", "array_code", "hour_of", "weekday_of"]

#: Answers a batch; `Column.missing` is where the expression failed.
ArrayCode = Callable[[Rows], Column]
_Function = Callable[..., Values]

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
#: The first day of 1970 was a Thursday, the third after Monday.
_WEEKDAY_OF_DAY_0: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
#: The years that a date in any zone can show.
_SHOWN_MS: Final = (-62_135_510_400_000, 253_402_214_399_999)

_COMPARABLE: Final = ("double", "int64", "timestamp")
_FUNCTIONS: Final[Mapping[str, _Function]] = {
    **{f"less_{kind}": np.less for kind in _COMPARABLE},
    **{f"less_equals_{kind}": np.less_equal for kind in _COMPARABLE},
    **{f"greater_{kind}": np.greater for kind in _COMPARABLE},
    **{f"greater_equals_{kind}": np.greater_equal for kind in _COMPARABLE},
    "equals": np.equal,
    "not_equals": np.not_equal,
    "logical_not": np.logical_not,
    "negate_double": np.negative,
    "add_double": np.add,
    "subtract_double": np.subtract,
    "multiply_double": np.multiply,
    "divide_double": np.true_divide,
    "int64_to_double": partial(np.multiply, 1.0),
}


def hour_of(moment: datetime, zone: ZoneInfo) -> int:
    """Return the hour of a moment in `zone`.

    >>> hour_of(datetime(2026, 11, 22, 23, 30, tzinfo=UTC), ZoneInfo("UTC"))
    23
    """
    return moment.astimezone(zone).hour


def weekday_of(moment: datetime, zone: ZoneInfo) -> int:
    """Return the day of the week of a moment in `zone`, 0 for Monday.

    >>> weekday_of(datetime(2026, 11, 22, 23, 30, tzinfo=UTC), ZoneInfo("UTC"))
    6
    """
    return moment.astimezone(zone).weekday()


def array_code(node: Node, names: Names) -> ArrayCode | None:
    """Return array code for an expression, or None where only CEL can answer it."""
    if isinstance(node, Constant):
        return _constant(node) if node.value is not None else None
    if isinstance(node, Name):
        name = node.name
        return (lambda rows: rows.column(name)) if name in names.kinds else None
    if isinstance(node, Select):
        return _presence(node, names)
    if isinstance(node, Call):
        return _in_list(node, names) if node.overload == "in_list" else _call(node, names)
    return None


def _constant(node: Constant) -> ArrayCode:
    value = cast("object", node.value)
    kind = object if isinstance(value, str) else None
    column = Column(np.array(value, dtype=kind))
    return lambda _: column


def _presence(node: Select, names: Names) -> ArrayCode | None:
    """`has(event.field)`."""
    field = node.field
    if not node.asks_presence or node.operand != Name("event") or field not in names.kinds:
        return None

    def present(rows: Rows) -> Column:
        missing = rows.column(field).missing
        return Column(np.ones(len(rows), np.bool_) if missing is None else ~missing)

    return present


def _call(node: Call, names: Names) -> ArrayCode | None:
    codes = [array_code(argument, names) for argument in node.arguments]
    whole = [code for code in codes if code is not None]
    if len(whole) < len(codes):
        return None
    match node.overload, whole:
        case ("logical_and" | "logical_or") as both, [first, second]:
            decisive = both == "logical_or"
            return lambda rows: _either(first(rows), second(rows), decisive=decisive)
        case "conditional", [asked, yes, no]:
            return lambda rows: _conditional(asked(rows), yes(rows), no(rows))
        case ("hour_timestamp" | "weekday_timestamp") as helper, [moment]:
            return _calendar(helper, moment, names.zone)
        case overload, _ if overload in _FUNCTIONS:
            return _applied(_FUNCTIONS[overload], whole)
        case _:
            return None


def _applied(function: _Function, codes: list[ArrayCode]) -> ArrayCode:
    def apply(rows: Rows) -> Column:
        columns = [code(rows) for code in codes]
        with np.errstate(all="ignore"):
            values = function(*[column.values for column in columns])
        failed: Flags | None = None
        for column in columns:
            failed = _any(failed, column.missing)
        return Column(values, failed)

    return apply


def _in_list(node: Call, names: Names) -> ArrayCode | None:
    """`a in [b, c]` as `a == b || a == c`."""
    sought, items = node.arguments
    if not isinstance(items, Items) or not items.elements:
        return None
    equals = [array_code(Call("equals", (sought, one)), names) for one in items.elements]
    whole = [code for code in equals if code is not None]
    if len(whole) < len(equals) or not all(isinstance(one, Constant) for one in items.elements):
        return None

    def found(rows: Rows) -> Column:
        answers = [code(rows) for code in whole]
        return Column(np.any([one.values for one in answers], axis=0), answers[0].missing)

    return found


def _either(first: Column, second: Column, *, decisive: bool) -> Column:
    """Return `&&` (decided by false) or `||` (decided by true)."""
    decided = _known(first, is_=decisive) | _known(second, is_=decisive)
    failed = _any(first.missing, second.missing)
    return Column(decided == decisive, None if failed is None else failed & ~decided)


def _known(column: Column, *, is_: bool) -> Flags:
    values: Flags = np.equal(cast("Flags", column.values), is_)
    return values if column.missing is None else values & ~column.missing


def _conditional(asked: Column, yes: Column, no: Column) -> Column:
    chosen = cast("Flags", asked.values)
    values = np.where(chosen, yes.values, no.values)
    nowhere = np.zeros((), np.bool_)
    branch = np.where(
        chosen,
        nowhere if yes.missing is None else yes.missing,
        nowhere if no.missing is None else no.missing,
    )
    return Column(values, _any(asked.missing, branch))


def _any(first: Flags | None, second: Flags | None) -> Flags | None:
    if first is None or second is None:
        return second if first is None else first
    return first | second


def _calendar(helper: str, moment: ArrayCode, zone: ZoneInfo) -> ArrayCode:
    hourly = helper == "hour_timestamp"

    def answer(rows: Rows) -> Column:
        column = moment(rows)
        times_ms = np.clip(cast("npt.NDArray[np.int64]", column.values), *_SHOWN_MS)
        if zone.key == "UTC":
            if hourly:
                return Column(times_ms % _DAY_MS // _HOUR_MS, column.missing)
            return Column((times_ms // _DAY_MS + _WEEKDAY_OF_DAY_0) % 7, column.missing)
        read = hour_of if hourly else weekday_of
        told = [read(_EPOCH + ms * _MS, zone) for ms in times_ms.tolist()]
        return Column(np.array(told, np.int64), column.missing)

    return answer
