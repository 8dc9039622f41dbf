"""The console of the commands: what events and models say is shown as it is, and obeyed never."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from batuta.streams.cli.terminal import plain

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    """Shows every text plainly, whatever it was made of; orders to the terminal are its own alone.

    Brackets in a text are brackets, no markup.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the parts of what is printed, each of them plain before it is measured."""
        for segment in super().render(renderable, options):
            if segment.control is not None or segment.text.isprintable():
                yield segment
            else:
                yield Segment(plain(segment.text), segment.style)
