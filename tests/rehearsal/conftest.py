"""What rehearsals of the real parts need: a pipeline, and silence about faults on purpose."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from batuta.streams.cli.pipelines import shipped_pipeline
from batuta.streams.rehearsal.rehearse import cast_of, quieten_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.rehearsal.world import Cast


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Say nothing of faults on purpose; the next test may speak again."""
    before = structlog.get_config()
    quieten_logs()
    yield
    structlog.configure(**before)
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def real() -> Cast:
    """The real parts."""
    return cast_of(shipped_pipeline("fraud"))
