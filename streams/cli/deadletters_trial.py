"""Tries a fix on dead letters: what would change, and whether the stage would accept it."""

import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.fixes import Change, changes
from batuta.streams.cli.deadletters_screen import Screen, change_as_json, change_as_text

if TYPE_CHECKING:
    from batuta.schemas.fixes import Fix
    from batuta.schemas.record import Record
    from batuta.streams.cli.deadletters_options import Bureau
    from batuta.streams.cli.deadletters_reading import Reading
    from batuta.streams.deadletters.dead_letters import Found

__all__ = ["Trial"]


class Trial:
    """Applies one fix to every dead letter it is shown; the first few are kept to look at.

    Attributes:
        fixed: how many the stage would accept.
        failed: how many the fix cannot be applied to, changes nothing of, or leaves refused.
        pages: the kept ones for a terminal.
    """

    def __init__(self, bureau: "Bureau", fix: "Fix", *, shown_max: int, reveal: bool) -> None:
        self._bureau = bureau
        self._fix = fix
        self._shown_max = shown_max
        self._screen = Screen(bureau, reveal=reveal)
        self._told: list[dict[str, object]] = []
        self.pages: list[RenderableType] = []
        self.fixed = 0
        self.failed = 0

    def take(self, found: "Found", reading: "Reading") -> None:
        """Try it on one, unless that was redriven before."""
        if found in reading.ledger:
            return
        error, differences = None, list[Change]()
        try:
            record = self._fixed(found)
            differences = changes(found.letter.record, record)
            self._check(found, record)
        except RefusedEventError as refusal:
            error = refusal
        self.fixed += error is None
        self.failed += error is not None
        if len(self._told) < self._shown_max:
            self._keep(found, differences, error)

    def mended(self, found: "Found") -> "Record | None":
        """Return the record to redrive instead of a dead letter, None where it cannot be fixed."""
        try:
            record = self._fixed(found)
            self._check(found, record)
        except RefusedEventError:
            return None
        door = self._bureau.doors[found.letter.stage]
        return record._replace(key=door.key(record, _now_ms()))

    def as_json(self) -> dict[str, object]:
        """Return what came of it."""
        return {"fixed": self.fixed, "not_fixed": self.failed, "letters": self._told}

    def sentence(self, *, applied: bool) -> str:
        """Say what came of it."""
        failed = f", {self.failed:,} cannot be fixed so" if self.failed else ""
        more = self.fixed + self.failed - len(self._told)
        unseen = f" ({more:,} not shown; --max shows them)" if more else ""
        dry = "" if applied or not self.fixed else "; nothing is written yet: --apply redrives them"
        return f"{self.fixed:,} fixed{failed}{unseen}{dry}"

    def _fixed(self, found: "Found") -> "Record":
        return self._fix.apply(found.letter)

    def _check(self, found: "Found", record: "Record") -> None:
        """Hold a mended record to what its stage accepts.

        Raises:
            RefusedEventError: the stage would refuse it, or it is what the stage refused.
        """
        stage = found.letter.stage
        door = self._bureau.doors.get(stage)
        if door is None:
            detail = f"no stage of {self._bureau.topics.pipeline} is called {stage}"
            raise RefusedEventError("unknown_stage", detail)
        if found.letter.is_output:
            detail = f"it is an output of {stage}, cut: no stage reads it"
            raise RefusedEventError(found.letter.reason, detail)
        if record == found.letter.record:
            raise RefusedEventError("unchanged", "the fix changes nothing of it")
        refusal = door.refusal(record, _now_ms())
        if refusal is not None:
            raise refusal

    def _keep(
        self, found: "Found", differences: list[Change], error: RefusedEventError | None
    ) -> None:
        mask = self._screen.mask_of(found)
        self._told.append(
            {
                "id": str(found.id),
                "reason": found.letter.reason,
                "fixed": error is None,
                "changes": [change_as_json(one, mask) for one in differences],
                "refused": None
                if error is None
                else {"reason": error.reason, "path": error.path, "detail": error.detail},
            }
        )
        head = Text(str(found.id), style="bold cyan")
        if error is None:
            head.append("  accepted", style="green")
        else:
            head.append(f"  {error.reason}: {error.detail}", style="red")
        self.pages.append(Group(head, *(change_as_text(one, mask) for one in differences)))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
