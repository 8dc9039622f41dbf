"""A small world of cards and terminals, and what thieves do in it: samples, and training data.

Cards have a home, terminals they like near it, a rhythm of day and week, and a usual amount. Fraud
comes in three ways, after the scenarios of Le Borgne et al., Reproducible Machine Learning for
Credit Card Fraud Detection (2022), chapter 3, changed so that most of it shows itself in time:

    large      a card's data is used once, for far more than people usually pay
    terminal   a terminal is captured for some days and drained with many cards
    card       a card is stolen and used often, far from home, for more than its owner would

A day is drawn from (seed, day) alone, so any stretch of days can be made again.

    world = CardWorld(CardPlan(seed=7))
    day = world.day(0)                      # arrays, sorted by time
    next(world.events(day, start_ms=0))     # SampleEvent(event_id="tx-7-000000000", ...)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.samples import Clock, SampleEvent

__all__ = ["CardPlan", "CardWorld", "Day", "fraud_samples", "joined"]

DAY_MS: Final = 86_400_000
_LABEL_AFTER_MS: Final = 7 * DAY_MS
#: Samples begin this long before now, and begin again with other people when they reach it.
_SAMPLE_DAYS: Final = 5 * 365

#: In a world's first days thieves have only begun: samples leave them out.
_QUIET_DAYS: Final = 7

_NEAR: Final = 12
#: Now and then people buy something large; few of the large ones are not theirs.
_DEAR_SHARE: Final = 0.004
_LARGE_SHARE: Final = 0.003
_BY_DAY_SHARE: Final = 0.6
#: Fridays and Saturdays, counted from the Thursday on which a world begins.
_BUSY_DAYS: Final = frozenset({1, 2})
_CAPTURES_PER_TERMINAL_DAY: Final = 0.0006
_THEFTS_PER_CARD_DAY: Final = 0.0010
_CAPTURE_DAYS: Final = 3
_THEFT_DAYS: Final = 2
_COUNTRIES: Final = ("DE", "FR", "NL", "ES", "IT")
_CATEGORIES: Final = ("grocery", "fuel", "restaurant", "clothing", "electronics", "travel", "cash")
_CHANNELS: Final = ("pos", "online")

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CardPlan:
    """How large a world is; `seed` tells it from all others."""

    seed: int
    cards: int = 2_000
    terminals: int = 1_000


@dataclass(frozen=True, slots=True)
class Day:
    """Transactions as columns, sorted by time.

    Attributes:
        times_ms: since the world began.
        cards, terminals: indexes.
        amounts: in the currency's unit, two decimals.
        channels: index of "pos", "online".
        fraud: 0 for honest ones, else 1 large, 2 terminal, 3 card.
    """

    times_ms: Integers
    cards: Integers
    terminals: Integers
    amounts: Numbers
    channels: Integers
    fraud: Integers

    def __len__(self) -> int:
        return len(self.times_ms)


@dataclass(frozen=True, slots=True)
class _Loot:
    cards: Integers
    terminals: Integers
    amounts: Numbers
    kind: int


class CardWorld:
    """Draws the days of one world."""

    def __init__(self, plan: CardPlan) -> None:
        self._plan = plan
        random = np.random.default_rng([plan.seed, 0])
        homes = random.random((plan.cards, 2))
        self._places = random.random((plan.terminals, 2))
        self._mean = np.clip(random.lognormal(3.5, 0.6, plan.cards), 5.0, 180.0)
        self._per_day = random.gamma(2.0, 1.0, plan.cards)
        self._online = random.beta(1.0, 4.0, plan.cards)
        self._price = random.lognormal(0.0, 0.25, plan.terminals)
        self._category = random.integers(len(_CATEGORIES), size=plan.terminals)
        self._near = _nearest(homes, self._places)

    def day(self, day: int) -> Day:
        """Return the transactions of a day, counted from the world's first."""
        random = np.random.default_rng([self._plan.seed, 1, day])
        parts = [self._honest(day, random)]
        parts += [self._capture(start, day) for start in _since(day, _CAPTURE_DAYS)]
        parts += [self._theft(start, day) for start in _since(day, _THEFT_DAYS)]
        whole = joined(parts)
        order = np.argsort(whole.times_ms, kind="stable")
        return Day(
            whole.times_ms[order],
            whole.cards[order],
            whole.terminals[order],
            whole.amounts[order],
            whole.channels[order],
            whole.fraud[order],
        )

    def history(self, days: int) -> Day:
        """Return the first `days` days as one."""
        return joined([self.day(day) for day in range(days)])

    def _honest(self, day: int, random: np.random.Generator) -> Day:
        busier = 1.15 if day % 7 in _BUSY_DAYS else 1.0
        counts = random.poisson(self._per_day * busier)
        cards = np.repeat(np.arange(self._plan.cards), counts)
        size = len(cards)
        favourite = np.minimum(random.geometric(0.3, size) - 1, _NEAR - 1)
        terminals = self._near[cards, favourite]
        amounts = random.gamma(4.0, 0.25, size) * self._mean[cards] * self._price[terminals]
        dear = random.random(size) < _DEAR_SHARE
        amounts = np.where(dear, amounts * random.uniform(1.5, 3.5, size), amounts)
        fraud = (random.random(size) < _LARGE_SHARE).astype(np.int64)
        amounts = np.where(fraud == 1, 220.0 + random.exponential(180.0, size), amounts)
        return Day(
            times_ms=day * DAY_MS + _rhythm(random, size),
            cards=cards,
            terminals=terminals,
            amounts=_priced(amounts),
            channels=(random.random(size) < self._online[cards]).astype(np.int64),
            fraud=fraud,
        )

    def _capture(self, start: int, day: int) -> Day:
        """Return what is taken on `day` through terminals captured on `start`."""
        random = np.random.default_rng([self._plan.seed, 2, start])
        count = random.poisson(self._plan.terminals * _CAPTURES_PER_TERMINAL_DAY)
        captured = random.integers(self._plan.terminals, size=count)
        random = np.random.default_rng([self._plan.seed, 2, start, day])
        terminals = np.repeat(captured, random.poisson(14.0, count))
        cards = random.integers(self._plan.cards, size=len(terminals))
        amounts = self._mean[cards] * random.uniform(1.0, 3.5, len(terminals))
        return _taken(random, day, _Loot(cards, terminals, amounts, kind=2))

    def _theft(self, start: int, day: int) -> Day:
        """Return what is paid on `day` with cards stolen on `start`."""
        random = np.random.default_rng([self._plan.seed, 3, start])
        count = random.poisson(self._plan.cards * _THEFTS_PER_CARD_DAY)
        stolen = random.integers(self._plan.cards, size=count)
        random = np.random.default_rng([self._plan.seed, 3, start, day])
        cards = np.repeat(stolen, random.poisson(7.0, count))
        terminals = random.integers(self._plan.terminals, size=len(cards))
        amounts = self._mean[cards] * random.uniform(1.5, 6.0, len(cards))
        return _taken(random, day, _Loot(cards, terminals, amounts, kind=3))

    def events(
        self, day: Day, start_ms: int, first: int = 0, clock: Clock | None = None
    ) -> Iterator[SampleEvent]:
        """Yield the transactions of `day` as events.

        Args:
            day: what to tell.
            start_ms: when the world began, milliseconds since 1970 UTC.
            first: the number of the day's first transaction, for ids that are unique.
            clock: where given, each event's time is what it says when it is drawn.
        """
        tag = f"{self._plan.seed:x}"
        times_ms = day.times_ms + start_ms
        rows = zip(
            _rfc3339(times_ms),
            _rfc3339(times_ms + _LABEL_AFTER_MS),
            day.cards.tolist(),
            day.terminals.tolist(),
            day.amounts.tolist(),
            day.channels.tolist(),
            day.fraud.tolist(),
            strict=True,
        )
        place = [self._place_of(terminal) for terminal in range(self._plan.terminals)]
        for number, row in enumerate(rows, first):
            time, label_time, card, terminal, amount, channel, fraud = row
            if clock is not None:
                time, label_time = _rfc3339(np.array([0, _LABEL_AFTER_MS]) + clock())
            event_id, key = f"tx-{tag}-{number:09d}", f"c{tag}-{card}"
            data = (
                f'{{"transaction_id":"{event_id}","event_time":"{time}",'
                f'"card_id":"{key}","terminal_id":"t{tag}-{terminal}","amount":{amount},'
                f'"currency":"EUR","channel":"{_CHANNELS[channel]}",{place[terminal]}}}'
            )
            known = "true" if fraud else "false"
            label = f'{{"transaction_id":"{event_id}","label_time":"{label_time}","fraud":{known}}}'
            yield SampleEvent(event_id, key, data.encode(), label.encode(), fraud > 0)

    def _place_of(self, terminal: int) -> str:
        x, y = self._places[terminal].tolist()
        country = _COUNTRIES[int(x * len(_COUNTRIES))]
        category = _CATEGORIES[int(self._category[terminal])]
        return (
            f'"country":"{country}","lat":{42.0 + 11.0 * y:.4f},"lon":{-3.0 + 15.0 * x:.4f},'
            f'"merchant_category":"{category}"'
        )


def fraud_samples(seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
    """Yield transactions without end; see `batuta.agents.samples.Samples`."""
    start_ms = (now_ms // DAY_MS - _SAMPLE_DAYS) // 7 * 7 * DAY_MS
    generation = 0
    while True:
        world = CardWorld(CardPlan(seed + (generation << 64)))
        first = 0
        for number in range(_QUIET_DAYS, _SAMPLE_DAYS):
            day = world.day(number)
            yield from world.events(day, start_ms, first, clock)
            first += len(day)
        generation += 1


def joined(days: Sequence[Day]) -> Day:
    """Return `days` as one, in the order given."""
    return Day(
        np.concatenate([day.times_ms for day in days]),
        np.concatenate([day.cards for day in days]),
        np.concatenate([day.terminals for day in days]),
        np.concatenate([day.amounts for day in days]),
        np.concatenate([day.channels for day in days]),
        np.concatenate([day.fraud for day in days]),
    )


def _since(day: int, days: int) -> range:
    return range(max(day - days + 1, 0), day + 1)


def _nearest(homes: Numbers, places: Numbers) -> Integers:
    """Return the terminals nearest to each home, (cards, _NEAR), the nearest first."""
    distances = ((homes[:, None, :] - places[None, :, :]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :_NEAR]


def _rhythm(random: np.random.Generator, size: int) -> Integers:
    """Return times of day: two busy stretches, few at night."""
    hour_ms = DAY_MS / 24
    noon = random.random(size) < _BY_DAY_SHARE
    hours = np.where(noon, random.normal(12.0, 2.5, size), random.normal(18.5, 2.5, size))
    return (hours % 24 * hour_ms).astype(np.int64)


def _priced(amounts: Numbers) -> Numbers:
    return np.maximum(np.round(amounts, 2), 0.5)


def _taken(random: np.random.Generator, day: int, loot: _Loot) -> Day:
    """Return transactions at any hour, as thieves make them."""
    size = len(loot.cards)
    return Day(
        times_ms=day * DAY_MS + random.integers(DAY_MS, size=size),
        cards=loot.cards,
        terminals=loot.terminals,
        amounts=_priced(loot.amounts),
        channels=random.integers(2, size=size),
        fraud=np.full(size, loot.kind, np.int64),
    )


def _rfc3339(times_ms: Integers) -> list[str]:
    texts = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="ms", timezone="UTC")
    return cast("list[str]", texts.tolist())
