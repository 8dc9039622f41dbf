from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.group import CommittedOffset
from batuta.streams.broker.journal import FOLDER
from batuta.streams.broker.kept_broker import TOPIC, KeptBroker
from batuta.streams.broker.raw_client import build_batch
from batuta.streams.broker.topics import LOGS

if TYPE_CHECKING:
    from collections.abc import Callable

FENCED, STALE_EPOCH, STORAGE_ERROR, NOT_COORDINATOR = 90, 47, 56, 16
OUT_OF_ORDER, CONCURRENT = 45, 51


@pytest.fixture(params=["killed", "stopped"])
def restart(request: pytest.FixtureRequest) -> Callable[[KeptBroker], KeptBroker]:
    """Both ways in which a broker ends."""
    ways = {"killed": KeptBroker.killed, "stopped": KeptBroker.stopped}
    return ways[str(request.param)]


def test_records_offsets_and_settings_are_there_again(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    kept.create("other", 3, retention_ms=77, cleanup_policy="compact")
    for number in range(5):
        assert kept.produce(build_batch([b"%d" % number, b"x"])) == 0
    assert kept.commit_offset("group", 4) == 0
    before, cluster = kept.read(), kept.driver.broker.state.cluster_id
    again = restart(restart(kept))
    assert again.read() == before
    assert again.offset_of("group") == 4
    assert again.driver.broker.state.cluster_id == cluster
    other = again.driver.broker.state.topics.get("other")
    assert other is not None
    assert (len(other.partitions), other.config("retention.ms"), other.is_compacted) == (3, "77", 1)
    assert again.place(build_batch([b"next"])).base_offset == 10


def test_a_deleted_topic_stays_deleted(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    kept.produce(build_batch([b"x"]))
    kept.commit_offset("group", 1)
    state = kept.driver.broker.state
    topic = state.topics.get(TOPIC)
    assert topic is not None
    state.topics.delete(topic)
    state.groups.forget_topic(TOPIC)
    again = restart(kept)
    assert again.driver.broker.state.topics.get(TOPIC) is None
    assert again.disk.names(LOGS) == []
    assert again.create(TOPIC, 2) == 0
    assert again.read() == []
    assert again.offset_of("group") == -1


def test_an_idempotent_producer_goes_on(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    producer = kept.init(None)
    batches = [build_batch([b"a", b"b"], producer=producer, sequence=2 * n) for n in range(4)]
    placed = [kept.place(batch).base_offset for batch in batches[:3]]
    again = restart(kept)
    assert [again.place(batch).base_offset for batch in batches[:3]] == placed
    assert again.end_of() == 6
    gap = build_batch([b"z"], producer=producer, sequence=99)
    assert again.produce(gap) == OUT_OF_ORDER
    assert again.place(batches[3]).base_offset == 6
    assert again.init(None)[0] > producer[0]


def test_producer_ids_outlive_the_records_they_wrote(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    producer = kept.init(None)
    assert kept.produce(build_batch([b"a"], producer=producer, sequence=0)) == 0
    log = kept.driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    log.storage.roll(1, kept.clock.wall_ms())
    log.delete_before(1)
    again = restart(kept)
    assert (again.start_of(), again.end_of(), again.read()) == (1, 1, [])
    assert again.produce(build_batch([b"a"], producer=producer, sequence=5)) == OUT_OF_ORDER
    assert again.produce(build_batch([b"b"], producer=producer, sequence=1)) == 0


def test_a_committed_transaction_stays_one_and_an_aborted_one_stays_unseen(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    owner = kept.init("tx")
    for number, commit in enumerate((True, False, True)):
        assert kept.add("tx", owner, 0) == 0
        assert kept.add_offset("tx", owner, "group", number) == 0
        assert kept.send("tx", owner, b"%d" % number, (0, number)) == 0
        assert kept.end("tx", owner, commit=commit) == 0
    again = restart(kept)
    assert again.values() == [b"0", b"2"]
    assert again.offset_of("group") == 2
    assert again.end("tx", owner, commit=True) == 0


def test_an_open_transaction_is_aborted_when_its_time_is_over(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    owner = kept.init("tx", 10_000)
    kept.add("tx", owner, 0)
    kept.send("tx", owner, b"x", (0, 0))
    kept.add_offset("tx", owner, "group", 7)
    kept.clock.advance(4_000)
    again = restart(kept)
    again.clock.advance(5_999)
    assert again.fetch().last_stable_offset == 0
    again.clock.advance(1)
    assert again.fetch().last_stable_offset == 2
    assert again.values() == []
    assert again.offset_of("group") == -1
    assert again.end("tx", owner, commit=True) == FENCED


def test_an_open_transaction_goes_on(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    owner = kept.init("tx")
    kept.add("tx", owner, 0, 1)
    kept.send("tx", owner, b"x", (0, 0))
    again = restart(kept)
    assert again.send("tx", owner, b"y", (1, 0)) == 0
    assert again.end("tx", owner, commit=True) == 0
    assert (again.values(0), again.values(1)) == ([b"x"], [b"y"])


def test_a_fenced_producer_stays_fenced(
    kept: KeptBroker, restart: Callable[[KeptBroker], KeptBroker]
) -> None:
    old = kept.init("tx")
    kept.add("tx", old, 0)
    kept.send("tx", old, b"zombie", (0, 0))
    new = kept.init("tx")
    again = restart(kept)
    assert again.add("tx", old, 0) == FENCED
    assert again.send("tx", old, b"zombie", (0, 1)) == STALE_EPOCH
    assert again.init("tx") == (new[0], new[1] + 1)
    assert again.values() == []


class Ended(BaseException):
    """The process is gone."""


def run_until(kept: KeptBroker, changes: int, story: Callable[[KeptBroker], None]) -> bool:
    """Tell a story until the broker ends after so many changes of the disk; whether it did."""
    left = [changes]

    def count(_: str, __: str) -> None:
        if not left[0]:
            raise Ended
        left[0] -= 1

    kept.memory.before_change = count
    try:
        story(kept)
    except Ended:
        return True
    finally:
        kept.memory.before_change = None
    return False


@pytest.mark.parametrize("commit", [True, False])
def test_the_end_of_the_process_anywhere_in_a_transaction_leaves_all_or_nothing(
    commit: bool,  # noqa: FBT001 - a case
) -> None:
    """kill -9 before each change of the disk, from the first to the last."""
    completed = endings = 0
    while True:
        kept, decided = KeptBroker(), [False]
        assert kept.create(TOPIC, 2) == 0
        owner = kept.init("tx")

        def story(
            told: KeptBroker, owner: tuple[int, int] = owner, decided: list[bool] = decided
        ) -> None:
            assert told.add("tx", owner, 0, 1) == 0
            assert told.send("tx", owner, b"a", (0, 0)) == 0
            assert told.send("tx", owner, b"b", (1, 0)) == 0
            assert told.add_offset("tx", owner, "group", 9) == 0
            assert told.end("tx", owner, commit=commit) == 0
            decided[0] = True

        ended = run_until(kept, endings, story)
        again = kept.killed()
        completed += again.driver.broker.report.completed_transactions
        again.clock.advance(60_000)
        seen = (again.values(0), again.values(1), again.offset_of("group"))
        assert seen in [([b"a"], [b"b"], 9), ([], [], -1)]
        if decided[0] or again.driver.broker.report.completed_transactions:
            assert (seen[2] == 9) is commit
        assert again.fetch(0).last_stable_offset == again.end_of(0)
        assert again.fetch(1).last_stable_offset == again.end_of(1)
        assert max(again.end_of(0), again.end_of(1)) <= 2, "one marker, however often it ends"
        once_more = again.killed()
        assert (once_more.values(0), once_more.values(1), once_more.offset_of("group")) == seen
        if not ended:
            break
        endings += 1
    assert endings >= 8
    assert completed >= 3, "no ending fell between the decision and its last marker"


def test_a_refusal_in_the_middle_of_a_commit_is_made_good(kept: KeptBroker) -> None:
    owner = kept.init("tx")
    kept.add("tx", owner, 0, 1)
    kept.send("tx", owner, b"a", (0, 0))
    kept.send("tx", owner, b"b", (1, 0))
    kept.add_offset("tx", owner, "group", 9)

    def refuse(_: str, path: str) -> None:
        if path in kept.segment_paths(1):
            raise DiskError("No space left on device")

    kept.memory.before_change = refuse
    assert kept.end("tx", owner, commit=True) == 0
    assert kept.add("tx", owner, 0) == CONCURRENT
    assert (kept.values(0), kept.values(1), kept.offset_of("group")) == ([b"a"], [], -1)
    kept.memory.before_change = None
    kept.clock.advance(1000)
    assert (kept.values(0), kept.values(1), kept.offset_of("group")) == ([b"a"], [b"b"], 9)
    assert kept.end_of(0) == 2, "one marker, not one for each try"
    assert kept.add("tx", owner, 0) == 0


def test_a_full_disk_acknowledges_nothing_and_recovers(kept: KeptBroker) -> None:
    kept.produce(build_batch([b"before"]))
    kept.commit_offset("group", 1)
    owner = kept.init("tx")

    def refuse(what: str, path: str) -> None:
        raise DiskError(f"{path}: {what}: No space left on device")

    kept.memory.before_change = refuse
    assert kept.produce(build_batch([b"lost"])) == STORAGE_ERROR
    assert kept.commit_offset("group", 2) == NOT_COORDINATOR
    assert kept.add("tx", owner, 0) == NOT_COORDINATOR
    assert kept.create("more") == STORAGE_ERROR
    assert (kept.values(), kept.offset_of("group")) == ([b"before"], 1)
    kept.memory.before_change = None
    assert kept.place(build_batch([b"after"])).base_offset == 1
    assert kept.killed().values() == [b"before", b"after"]


def test_a_journal_that_has_grown_is_written_anew(kept: KeptBroker) -> None:
    owner = kept.init("tx")
    kept.add("tx", owner, 0)
    kept.add_offset("tx", owner, "pending", 5)
    note = "x" * 4000
    for number in range(1200):
        kept.driver.broker.state.groups.commit("group", {(TOPIC, 0): _offset(number, note)})
    before = kept.disk.names(FOLDER)
    kept.clock.advance(kept.settings.housekeeping_interval_ms)
    (name,) = kept.disk.names(FOLDER)
    assert [name] != before
    assert kept.disk.size(f"{FOLDER}/{name}") < 10_000
    again = kept.killed()
    assert again.offset_of("group") == 1199
    assert again.end("tx", owner, commit=True) == 0
    assert again.offset_of("pending") == 5


def _offset(offset: int, note: str) -> CommittedOffset:
    return CommittedOffset(offset, 0, note)
