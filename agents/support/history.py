"""Banking questions as a history: intents to be learnt and found, and drafts to be verified."""

from collections.abc import Mapping, Sequence
from typing import cast

from batuta.agents.delegation.plans import Node
from batuta.agents.evaluation.ranking import Numbers
from batuta.agents.evaluation.report import Evaluation
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.history import Columns, Progress, Tables, WithoutOracle, never_told
from batuta.agents.models.card import TrainedModel
from batuta.agents.support.data import (
    MESSAGE_COLUMNS,
    POLICY_FILE,
    TEST_FILE,
    TRAIN_FILE,
    Messages,
    guideline_policies,
    messages_of,
)
from batuta.agents.support.evaluation import measure_support, reply_checkpoint
from batuta.schemas.errors import UsageError

__all__ = ["SupportHistory"]


class SupportHistory(WithoutOracle):
    """A LabelMapping: the questions, each with its intent."""

    files: Mapping[str, tuple[str, ...]] = {
        TRAIN_FILE: MESSAGE_COLUMNS,
        TEST_FILE: MESSAGE_COLUMNS,
        POLICY_FILE: (),
    }

    def history(self, tables: Tables) -> Messages:
        """Return the questions that were read.

        Raises:
            UsageError: the files are not what they should be.
        """
        past, asked = (cast("Columns", tables[name]) for name in (TRAIN_FILE, TEST_FILE))
        return messages_of(past, asked, guideline_policies(tables[POLICY_FILE]))

    def train(
        self, history: Messages, weeks: Weeks, seed: int, progress: Progress = never_told
    ) -> TrainedModel:
        """Return a classifier of the labelled questions; they have no weeks.

        Raises:
            UsageError: there are too few of them.
        """
        from batuta.agents.support.training import trained_on  # noqa: PLC0415 - scikit-learn

        del weeks
        try:
            return trained_on(history.past_texts, history.past_labels, seed, progress)
        except ValueError as error:
            raise UsageError(f"{TRAIN_FILE}: {error}") from error

    def measure(self, history: Messages, weeks: Weeks, scores: Numbers) -> Evaluation:
        """Refuse: a question has no score.

        Raises:
            UsageError: always.
        """
        del history, weeks, scores
        raise UsageError("questions are measured by their labels")

    def measure_labels(
        self, history: Messages, labels: Sequence[str], plans: Sequence[Node]
    ) -> Evaluation:
        """Return how many questions are understood, and how drafts with planted faults fare."""
        return measure_support(history, labels, reply_checkpoint(plans))
