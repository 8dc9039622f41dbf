"""The fraud handbook's simulated transactions as events and labels.

The data set: Le Borgne, Siblini, Lebichot and Bontempi, Reproducible Machine Learning for Credit
Card Fraud Detection (2022), chapter 3. Rows are in the order of time; times are seconds since the
first day began, taken as UTC; amounts are whole cents of a currency that has no name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers
from batuta.agents.evaluation.report import Oracle
from batuta.agents.samples import SampleEvent
from batuta.schemas.errors import UsageError

__all__ = [
    "ORACLE_COLUMNS",
    "ORACLE_FILES",
    "TRANSACTION_COLUMNS",
    "TRANSACTION_FILE",
    "Transactions",
    "event_id_of",
    "oracle_of",
    "transactions_of",
]

TRANSACTION_FILE: Final = "transactions.parquet"
TRANSACTION_COLUMNS: Final = (
    "TRANSACTION_ID",
    "TX_TIME_SECONDS",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT_CENTS",
    "TX_FRAUD",
)
#: Files of published features, and these by the names of ours.
ORACLE_FILES: Final = "features_oracle_*.parquet"
ORACLE_COLUMNS: Final[Mapping[str, str]] = {
    "weekend": "TX_DURING_WEEKEND",
    "night": "TX_DURING_NIGHT",
    **{
        f"{ours}_{width.lower()[:-2]}": f"{theirs}_{width}_WINDOW"
        for ours, theirs in (
            ("card_count", "CUSTOMER_ID_NB_TX"),
            ("card_mean_amount", "CUSTOMER_ID_AVG_AMOUNT"),
            ("terminal_risk_delayed_count", "TERMINAL_ID_NB_TX"),
            ("terminal_risk_share_fraud", "TERMINAL_ID_RISK"),
        )
        for width in ("1DAY", "7DAY", "30DAY")
    },
}

#: 2018-04-01T00:00:00Z, a Sunday.
_FIRST_DAY_MS: Final = 1_522_540_800_000
_DAY_MS: Final = 86_400_000
_LABEL_AFTER_MS: Final = 7 * _DAY_MS
_BLOCK_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Transactions:
    """Transactions as columns, sorted by time, and by their numbers where times are equal.

    Attributes:
        numbers: unique.
        times_ms: since 1970 UTC.
        cards, terminals: by number.
        amounts: two decimals.
        positive: which are frauds.
    """

    numbers: Integers
    times_ms: Integers
    cards: Integers
    terminals: Integers
    amounts: Numbers
    positive: Booleans

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def days(self) -> Integers:
        """Days since the data set's first."""
        return (self.times_ms - _FIRST_DAY_MS) // _DAY_MS

    @property
    def entities(self) -> Integers:
        """The cards."""
        return self.cards

    @property
    def losses(self) -> Numbers:
        """The amounts: what a fraud takes."""
        return self.amounts

    @property
    def label_after_ms(self) -> int:
        """A week."""
        return _LABEL_AFTER_MS

    def before(self, day: int) -> "Transactions":
        """Return the transactions of the days before `day`."""
        end = int(np.searchsorted(self.times_ms, _FIRST_DAY_MS + day * _DAY_MS))
        return Transactions(
            self.numbers[:end],
            self.times_ms[:end],
            self.cards[:end],
            self.terminals[:end],
            self.amounts[:end],
            self.positive[:end],
        )

    def event_ids(self) -> Iterator[str]:
        """Yield the id of each transaction."""
        return map(event_id_of, self.numbers.tolist())

    def events(self) -> Iterator[SampleEvent]:
        """Yield each transaction as an event with its label."""
        for begin in range(0, len(self), _BLOCK_ROWS):
            yield from self._block(slice(begin, begin + _BLOCK_ROWS))

    def _block(self, rows: slice) -> Iterator[SampleEvent]:
        columns = zip(
            map(event_id_of, self.numbers[rows].tolist()),
            _rfc3339(self.times_ms[rows]),
            _rfc3339(self.times_ms[rows] + _LABEL_AFTER_MS),
            self.cards[rows].tolist(),
            self.terminals[rows].tolist(),
            self.amounts[rows].tolist(),
            self.positive[rows].tolist(),
            strict=True,
        )
        for event_id, time, label_time, card, terminal, amount, fraud in columns:
            data = (
                f'{{"transaction_id":"{event_id}","event_time":"{time}","card_id":"c{card}",'
                f'"terminal_id":"t{terminal}","amount":{amount},"currency":"EUR","channel":"pos"}}'
            )
            known = "true" if fraud else "false"
            label = f'{{"transaction_id":"{event_id}","label_time":"{label_time}","fraud":{known}}}'
            yield SampleEvent(event_id, f"c{card}", data.encode(), label.encode(), fraud)


def event_id_of(number: int) -> str:
    """Return the id of the transaction of this number.

    >>> event_id_of(3527)
    'tx-000003527'
    """
    return f"tx-{number:09d}"


def transactions_of(columns: Mapping[str, npt.NDArray[np.generic]]) -> Transactions:
    """Return the data set's transactions.

    Args:
        columns: `TRANSACTION_COLUMNS` of `TRANSACTION_FILE`.

    Raises:
        UsageError: the file holds none, or what no transaction can be.
    """
    number, second, card, terminal, cents, fraud = (
        _whole(columns[name], name) for name in TRANSACTION_COLUMNS
    )
    if not len(number):
        raise UsageError(f"{TRANSACTION_FILE} holds no transactions")
    if int(cents.min()) < 0 or int(second.min()) < 0:
        raise UsageError(f"{TRANSACTION_FILE} holds a negative amount or time")
    order = np.lexsort((number, second))
    return Transactions(
        number[order],
        _FIRST_DAY_MS + second[order] * 1_000,
        card[order],
        terminal[order],
        cents[order] / 100.0,
        fraud[order] != 0,
    )


def oracle_of(columns: Mapping[str, npt.NDArray[np.generic]], transactions: Transactions) -> Oracle:
    """Return the published features of a part of the transactions.

    Args:
        columns: of the oracle's file: the numbers, and the values of `ORACLE_COLUMNS`.
        transactions: with every one that the oracle speaks of.

    Raises:
        UsageError: the oracle speaks of a transaction that is not there.
    """
    numbers = _whole(columns["TRANSACTION_ID"], "TRANSACTION_ID")
    order = np.argsort(transactions.numbers)
    known = transactions.numbers[order]
    places = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    if not bool(np.all(known[places] == numbers)):
        raise UsageError("the published features speak of a transaction that is not there")
    values = [columns[name].astype(np.float64) for name in ORACLE_COLUMNS.values()]
    return Oracle(tuple(ORACLE_COLUMNS), order[places], np.column_stack(values))


def _whole(column: npt.NDArray[np.generic], name: str) -> Integers:
    if column.dtype.kind not in "iub":
        raise UsageError(f"column {name} holds {column.dtype}, not whole numbers")
    return column.astype(np.int64)


def _rfc3339(times_ms: Integers) -> list[str]:
    texts = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s", timezone="UTC")
    return cast("list[str]", texts.tolist())
