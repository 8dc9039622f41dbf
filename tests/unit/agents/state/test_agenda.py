"""An agenda gives what is due in order, whatever was put off, brought forward or dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.state.agenda import Agenda

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(-3, 9)),
        st.tuples(st.just("drop"), KEYS, st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 3).map(bytes), st.integers(-3, 9)),
        st.tuples(st.just("fill"), KEYS, st.integers(-3, 9)),
        st.tuples(st.just("put off"), KEYS, st.integers(-3, 9)),
    ),
    min_size=10,
    max_size=60,
)


@given(STEPS)
def test_an_agenda_answers_as_a_sorted_list_does(steps: list[tuple[str, bytes, int]]) -> None:
    agenda, model = Agenda(), dict[bytes, int]()
    for kind, key, due in steps:
        if kind == "take":
            expected = sorted((at, name) for name, at in model.items() if at <= due)[: len(key)]
            assert agenda.take(due, len(key)) == expected
            model = {name: at for name, at in model.items() if (at, name) not in expected}
        elif kind == "drop":
            agenda.put(key, None)
            model.pop(key, None)
        elif kind == "put off":
            assert agenda.put_off([key], due) == {key: model.get(key)}
            model[key] = due
        else:
            model[key] = due
            agenda.put(key, due) if kind == "set" else agenda.fill({key: due})
        assert agenda.first() == min(((at, name) for name, at in model.items()), default=None)
        assert {name: agenda.get(name) for name in model} == model
        assert len(agenda) == len(model)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=30))
def test_few_filled_into_many_stand_where_they_belong(few: list[tuple[int, int]]) -> None:
    many = {b"%d" % number: number for number in range(100)}
    agenda = Agenda()
    agenda.fill(many)
    for number, due in few:
        agenda.fill({b"%d" % number: due})
        many[b"%d" % number] = due
    assert agenda.take(100, 1000) == sorted((due, key) for key, due in many.items())


def test_what_is_set_and_dropped_for_ever_takes_no_room_for_ever() -> None:
    agenda = Agenda()
    for number in range(10_000):
        agenda.set(b"%d" % number, number)
        agenda.drop(b"%d" % number)
        agenda.set(b"hot", -number)
    held = agenda.__dict__
    assert max(len(part) for part in held.values()) < 500
