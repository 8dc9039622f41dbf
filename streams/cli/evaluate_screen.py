"""What an evaluation looks like on a terminal: our figures beside the published ones."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from batuta.agents.evaluation.report import Evaluation
from batuta.streams.cli.evaluate_page import shown

__all__ = ["figures"]


def figures(evaluation: Evaluation) -> RenderableType:
    """Return the table of figures, and what they were measured on."""
    names = list(evaluation.metrics)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row(
        evaluation.name, *(shown(evaluation.metrics[name]) for name in names), style="bold"
    )
    for other in evaluation.published:
        cells = (shown(other.metrics[name]) if name in other.metrics else "" for name in names)
        table.add_row(other.name, *cells, style="dim")
    facts = ", ".join(
        f"{name.replace('_', ' ')} {shown(value)}" for name, value in evaluation.facts.items()
    )
    return Group(table, Text(facts, style="dim"))
