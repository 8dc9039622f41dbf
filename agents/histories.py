"""The data sets that shipped pipelines are trained on and evaluated with, by pipeline."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batuta.agents.history import HistoryMapping

__all__ = ["histories"]


def histories() -> "Mapping[str, HistoryMapping[Any]]":
    """Return every pipeline's mapping; loads their code when it is asked to."""
    from batuta.agents.fraud.training_history import FraudHistory  # noqa: PLC0415
    from batuta.agents.maintenance.history import MaintenanceHistory  # noqa: PLC0415
    from batuta.agents.support.history import SupportHistory  # noqa: PLC0415

    return {
        "fraud": FraudHistory(),
        "maintenance": MaintenanceHistory(),
        "support": SupportHistory(),
    }
