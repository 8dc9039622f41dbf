"""What a pipeline file takes from the environment: addresses and keys, as `${NAME}`.

Everything else that the environment holds is a setting, and read in `settings.py` alone.
"""

import os
import re
from typing import Final

from pydantic import SecretStr

__all__ = ["MissingVariableError", "secret_of", "text_of"]

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


def secret_of(text: str | None) -> SecretStr | None:
    """Return the secret that a variable holds, None where none is named.

    Raises:
        MissingVariableError: there is no such variable, or it is empty.
    """
    return None if text is None else SecretStr(text_of(text))
