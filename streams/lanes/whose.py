"""Whose work a task does: the stage it belongs to, for those who count what each costs."""

from contextvars import ContextVar
from typing import Final

__all__ = ["STAGE"]

#: The stage that the running task works for; "" where it works for none.
STAGE: Final[ContextVar[str]] = ContextVar("batuta_stage", default="")
