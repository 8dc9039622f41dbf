"""Every way to end has one exit code, and expected errors are a sentence without a traceback."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from batuta.schemas.errors import (
    BatutaError,
    BrokerUnreachableError,
    OursError,
    RefusedEventError,
    TopicMismatchError,
    UsageError,
)
from batuta.streams.cli.exits import exit_code_of


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def command() -> NoReturn:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("say --bootstrap"), 2),
        (TopicMismatchError("no topic"), 2),
        (BrokerUnreachableError("nobody answers"), 3),
        (RefusedEventError("not_json", "it is not"), 1),
        (BatutaError("no [brackets] are lost"), 1),
    ],
)
def test_expected_errors_are_one_sentence(
    error: BatutaError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(raising(error)) == code
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"error: {error}\n")


@pytest.mark.parametrize("error", [ValueError("odd"), OursError("a promise"), AssertionError(3)])
def test_a_fault_of_ours_is_shown_whole(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(raising(error)) == 70
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert type(error).__name__ in err


def test_success_is_0_and_an_interrupt_130() -> None:
    assert exit_code_of(lambda: None) == 0
    assert exit_code_of(raising(KeyboardInterrupt())) == 130
