"""Mender: a draft that does not pass its checks becomes the policy that it names, word by word."""

from collections.abc import Mapping, Sequence

import numpy as np

from batuta.agents.models.answers import Answers
from batuta.agents.support.drafter import draft_of
from batuta.agents.support.policies import POLICIES, policies_of
from batuta.agents.verification.remedies import RepairBatch

__all__ = ["Mender"]


class Mender:
    """A `Repair`: nothing of the failed draft is kept but which policy it is about.

    Whether that policy is one that was found, the same checks say again.
    """

    def __init__(self, policies: Sequence[Mapping[str, object]] = ()) -> None:
        """Know the policies: those given, as the retriever's, else the sample pipeline's.

        Raises:
            ValueError: one of them is none.
        """
        known = policies_of(policies) if policies else POLICIES
        self._steps = {one.title: one.steps for one in known}

    def repair(self, batch: RepairBatch) -> Answers:
        """Return one draft per answer; NaN as the score where it names no policy."""
        values = [self._mended(value) for value in batch.values]
        unmended = np.array([value is None for value in values], bool)
        return Answers(np.where(unmended, np.nan, batch.scores), values=values)

    def _mended(self, draft: object) -> dict[str, str] | None:
        title = draft.get("policy") if isinstance(draft, Mapping) else None
        steps = self._steps.get(title) if isinstance(title, str) else None
        return None if steps is None else draft_of(str(title), steps)
