"""What a pipeline file takes from the environment: addresses and keys, as `${NAME}`.

Everything else that the environment holds is a setting, and read in `settings.py` alone.
"""

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from pydantic import SecretStr

__all__ = ["MissingVariableError", "lent", "secret_of", "text_of", "unset_of"]

_VARIABLE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


class MissingVariableError(Exception):
    """A variable that a file names is not set; the message is its name."""


def text_of(text: str) -> str:
    """Return a text, or what the variable holds that it names.

    >>> text_of("http://127.0.0.1:8080")
    'http://127.0.0.1:8080'

    Raises:
        MissingVariableError: there is no such variable, or it is empty.
    """
    named = _VARIABLE.fullmatch(text)
    if named is None:
        return text
    found = os.environ.get(named[1], "")
    if not found:
        raise MissingVariableError(named[1])
    return found


def unset_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the variables that texts name and nobody has set, each once."""
    named = (_VARIABLE.fullmatch(text) for text in texts)
    names = dict.fromkeys(match[1] for match in named if match is not None)
    return tuple(name for name in names if not os.environ.get(name))


@contextmanager
def lent(names: Iterable[str], value: str) -> Generator[None]:
    """Let variables that nobody has set hold a value for a while."""
    names = tuple(names)
    os.environ.update(dict.fromkeys(names, value))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


def secret_of(text: str | None) -> SecretStr | None:
    """Return the secret that a variable holds, None where none is named.

    Raises:
        MissingVariableError: there is no such variable, or it is empty.
    """
    return None if text is None else SecretStr(text_of(text))
