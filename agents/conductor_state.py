"""What the conductor remembers, lane by lane."""

from collections.abc import Sequence
from typing import Final

from batuta.agents.budgets.wallet import Wallet
from batuta.agents.state.control_mark import ControlMark
from batuta.agents.state.port import StateTable, Tables
from batuta.agents.understanding.layout import Layout
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.window_sets import WindowSet
from batuta.agents.verification.success import Success

__all__ = ["MEMORY_TAG", "ConductorState"]

#: Under which the memories of features stand in the changelog.
MEMORY_TAG: Final = b"m"
#: Under which it says how far control was read.
_CONTROL_TAG: Final = b"v"


class ConductorState(Tables):
    """What scoring remembers: windows and shares of its key, what features keep of each series.

    And under which control offset its batches ran, where versions of models follow control; what
    it may spend, where the pipeline has budgets; and, written with what answers mean, which
    remedies have helped.
    """

    def __init__(
        self,
        windows: WindowSet,
        shares: ShareSet,
        memories: MemoryTable | None = None,
        wallet: Wallet | None = None,
    ) -> None:
        own: list[StateTable] = [memories] if memories is not None else []
        own += [wallet.purse.table] if wallet is not None else []
        layout = Layout({**windows.holds, **shares.holds})
        self.control = ControlMark(_CONTROL_TAG)
        super().__init__((layout, *windows.tables, *shares.tables, *own, self.control))
        self.windows = windows
        self.shares = shares
        self.memories = memories
        self.wallet = wallet
        self.success = Success()

    @property
    def answer_tables(self) -> Sequence[StateTable]:
        """The tables that are written once answers are there, in the second turn of a batch."""
        return (self.success.table,)
