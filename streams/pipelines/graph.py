"""Draws a pipeline: topics and stages from left to right, as SVG or as text.

The layout is Sugiyama's in its simplest form (Sugiyama, Tagawa and Toda, 1981): a node's layer is
the longest way to it, and within a layer nodes stand by the mean place of what leads to them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from batuta.streams.pipelines.outline import StageOutline, TopicOutline

__all__ = ["as_svg", "as_text"]

_CHARACTER_PX: Final = 7.3
_LINE_PX: Final = 17
_PAD_PX: Final = 11
_GAP_X_PX: Final = 54
_GAP_Y_PX: Final = 26
_MARGIN_PX: Final = 24
_LINE_CHARACTERS_MAX: Final = 36
_STYLE: Final = """
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1b1f24 }
.title { font-weight: 700 }
.note { fill: #57606a }
.stage { fill: #eef4ff; stroke: #2f5fb3 }
.topic { fill: #ffffff; stroke: #8c959f }
.edge { fill: none; stroke: #8c959f; stroke-width: 1.4; marker-end: url(#tip) }
.page { fill: #ffffff }
"""


@dataclass(frozen=True)
class _Node:
    name: str
    lines: tuple[str, ...]
    is_stage: bool

    @property
    def width(self) -> float:
        longest = max(map(len, (self.name, *self.lines)))
        return longest * _CHARACTER_PX + 2 * _PAD_PX + 6

    @property
    def height(self) -> float:
        return _LINE_PX * (1 + len(self.lines)) + 2 * _PAD_PX - 4


@dataclass(frozen=True)
class _Graph:
    nodes: Mapping[str, _Node]
    edges: tuple[tuple[str, str], ...]

    def into(self, name: str) -> list[str]:
        return [source for source, target in self.edges if target == name]

    def out_of(self, name: str) -> list[str]:
        return [target for source, target in self.edges if source == name]


@dataclass(frozen=True)
class _Place:
    x: float
    y: float


def as_text(topics: Sequence[TopicOutline], stages: Sequence[StageOutline]) -> str:
    """Return the route as an indented tree; what was shown above is only named again."""
    graph = _graph(topics, stages)
    shown: set[str] = set()
    roots = [name for name in graph.nodes if not graph.into(name)]
    lines = [line for root in roots for line in _branch(graph, root, "", shown)]
    return "\n".join(lines)


def as_svg(title: str, topics: Sequence[TopicOutline], stages: Sequence[StageOutline]) -> str:
    """Return the route as an SVG document of its own."""
    graph = _graph(topics, stages)
    places = _placed(graph, _layers(graph))
    right = max(place.x + graph.nodes[name].width for name, place in places.items()) + _MARGIN_PX
    bottom = max(place.y + graph.nodes[name].height for name, place in places.items()) + _MARGIN_PX
    body = [*_edges(graph, places), *(_box(graph.nodes[name], places[name]) for name in places)]
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#8c959f"/></marker>'
    )
    size = f'width="{right:.0f}" height="{bottom:.0f}" viewBox="0 0 {right:.0f} {bottom:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f"<defs>{tip}</defs>",
            '<rect class="page" width="100%" height="100%"/>',
            *body,
            "</svg>\n",
        )
    )


def _graph(topics: Sequence[TopicOutline], stages: Sequence[StageOutline]) -> _Graph:
    """Return what is drawn: the way onward of an event.

    Left out is what leads a stage back to itself, and what every stage writes to: dead letters.
    """
    everywhere = set(stages[0].writes).intersection(*(stage.writes for stage in stages))
    known = {topic.name for topic in topics} - everywhere
    loops = {name for stage in stages for name in set(stage.reads) & set(stage.writes)}
    edges: list[tuple[str, str]] = []
    for stage in stages:
        edges += [(name, stage.name) for name in stage.reads if name in known - loops]
        edges += [(stage.name, name) for name in stage.writes if name in known - loops]
    nodes = {
        topic.name: _Node(topic.name, (f"by {topic.key}",), is_stage=False)
        for topic in topics
        if topic.name in known - loops
    }
    for stage in stages:
        lines = tuple(part for line in stage.does for part in _wrapped(line))
        nodes[stage.name] = _Node(stage.name, lines, is_stage=True)
    return _Graph(nodes, tuple(edges))


def _wrapped(line: str) -> Iterator[str]:
    """Yield a line in pieces, the later ones indented."""
    piece = ""
    for word in line.split(" "):
        if piece.strip() and len(piece) + len(word) > _LINE_CHARACTERS_MAX:
            yield piece.rstrip()
            piece = "  "
        piece += f"{word} "
    yield piece.rstrip()


def _layers(graph: _Graph) -> list[list[str]]:
    depth: dict[str, int] = {}

    def depth_of(name: str) -> int:
        if name not in depth:
            depth[name] = max((1 + depth_of(one) for one in graph.into(name)), default=0)
        return depth[name]

    layers: list[list[str]] = [[] for _ in range(1 + max(map(depth_of, graph.nodes)))]
    for name in graph.nodes:
        layers[depth[name]].append(name)
    for above, layer in pairwise(layers):
        ranks = {name: rank for rank, name in enumerate(above)}

        def rank_of(name: str, ranks: Mapping[str, int] = ranks) -> float:
            leading = [ranks[one] for one in graph.into(name) if one in ranks]
            return sum(leading) / len(leading) if leading else float(len(ranks))

        # What goes on stands before what ends here.
        layer.sort(key=lambda name: (rank_of(name), -len(graph.out_of(name))))
    return layers


def _placed(graph: _Graph, layers: list[list[str]]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    x = float(_MARGIN_PX)
    for layer in layers:
        y = float(_MARGIN_PX)
        for name in layer:
            places[name] = _Place(x, y)
            y += graph.nodes[name].height + _GAP_Y_PX
        x += max(graph.nodes[name].width for name in layer) + _GAP_X_PX
    return places


def _edges(graph: _Graph, places: Mapping[str, _Place]) -> Iterator[str]:
    rights = _rights(graph, places)
    for source, target in graph.edges:
        begin, end = places[source], places[target]
        # Past the widest box of its layer first: else what leads downward runs behind it.
        x0, x1, x2 = begin.x + graph.nodes[source].width, rights[begin.x], end.x
        y1, y2 = begin.y + _LINE_PX, end.y + _LINE_PX
        between = [name for name, place in places.items() if x1 < place.x < x2]
        if between:
            low = max(places[name].y + graph.nodes[name].height for name in between) + _GAP_Y_PX / 2
            way = (
                f"{_curve(x1, y1, x1 + _GAP_X_PX, low)} L{x2 - _GAP_X_PX:.1f},{low:.1f} "
                f"{_curve(x2 - _GAP_X_PX, low, x2, y2)}"
            )
        else:
            way = _curve(x1, y1, x2, y2)
        yield f'<path class="edge" d="M{x0:.1f},{y1:.1f} L{x1:.1f},{y1:.1f} {way}"/>'


def _rights(graph: _Graph, places: Mapping[str, _Place]) -> dict[float, float]:
    """Return where each layer ends, by where it begins."""
    rights: dict[float, float] = {}
    for name, place in places.items():
        right = place.x + graph.nodes[name].width
        rights[place.x] = max(right, rights.get(place.x, right))
    return rights


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = max((x2 - x1) / 2, 20.0)
    return f"C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"


def _box(node: _Node, place: _Place) -> str:
    kind, radius = ("stage", 3) if node.is_stage else ("topic", 14)
    lines = [f'<text class="title" x="{place.x + _PAD_PX:.1f}" y="{place.y + 20:.1f}">']
    lines[0] += f"{escape(node.name)}</text>"
    for number, line in enumerate(node.lines, 1):
        y = place.y + 20 + number * _LINE_PX
        lines.append(
            f'<text class="note" x="{place.x + _PAD_PX:.1f}" y="{y:.1f}" '
            f'xml:space="preserve">{escape(line)}</text>'
        )
    rect = (
        f'<rect class="{kind}" x="{place.x:.1f}" y="{place.y:.1f}" rx="{radius}" '
        f'width="{node.width:.1f}" height="{node.height:.1f}"/>'
    )
    return f"<g>{rect}{''.join(lines)}</g>"


def _branch(graph: _Graph, name: str, indent: str, shown: set[str]) -> Iterator[str]:
    node = graph.nodes[name]
    again = name in shown
    shown.add(name)
    if node.is_stage:
        yield f"{indent}[{name}]{' (above)' if again else ''}"
        yield from (f"{indent}    {line}" for line in (() if again else node.lines))
    else:
        yield f"{indent}{name}  {node.lines[0]}"
    if not again:
        for target in graph.out_of(name):
            yield from _branch(graph, target, f"{indent}  ", shown)
