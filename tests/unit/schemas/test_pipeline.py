"""A pipeline that cannot mean anything is refused where it is declared."""

import pytest
from pydantic import ValidationError

from batuta.schemas.pipeline import Duplicates, Source, WindowFeature


@pytest.mark.parametrize("windows_ms", [(), (0,), (-1,), (2, 1), (1, 1), tuple(range(1, 20))])
def test_windows_ascend_and_are_some(windows_ms: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="windows_ms"):
        WindowFeature(name="card", by="card_id", windows_ms=windows_ms)


@pytest.mark.parametrize(
    "wrong",
    [
        {"value_bytes_max": 0},
        {"value_bytes_max": 2**30},
        {"earliest_ms": -(10**15)},
        {"ahead_ms_max": 0},
        {"key_field": ""},
        {"keyfield": "card_id"},
    ],
)
def test_a_source_is_bounded_and_knows_its_settings(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"key_field": "card_id", "time_field": "event_time"}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Source.model_validate(right | wrong)


@pytest.mark.parametrize("wrong", [{"within_ms": 0}, {"entries_max": 0}, {"entries_max": 10**12}])
def test_the_horizon_of_duplicates_is_bounded(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Duplicates(**wrong)
