"""The one edge to numba: array loops compiled once and kept on disk between runs."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

__all__ = ["compiled"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])


def compiled(function: FunctionT) -> FunctionT:
    """Return `function` compiled at its first call; the compiler is loaded from cache after that.

    Integer overflow wraps, as the running totals need it to.
    """
    return cast("FunctionT", njit(cache=True)(function))
