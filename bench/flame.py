"""A flame graph as an SVG of its own: open it in a browser, hover for the figures, press Ctrl-F or click Search.

Width is share of the samples, the outermost function is at the bottom, order is by name. Orange is ours in Python, red
ours compiled, blue other Python, grey C.
"""

from collections.abc import Iterable, Iterator
from html import escape

import msgspec

from bench.stacks import Stack, is_ours, is_python

WIDTH, ROW, HEAD = 1200, 17, 40
#: A letter of the text is about this wide.
LETTER = 6.4
#: Narrower boxes cannot be seen.
NARROW = 0.2

_SCRIPT = """
function search() {
  const wanted = prompt("Mark functions whose name contains:") || "";
  for (const box of document.querySelectorAll("g"))
    box.classList.toggle("found", wanted !== "" && box.textContent.includes(wanted));
}"""
_STYLE = """
text { font: 11px monospace; pointer-events: none }
.search { pointer-events: auto; cursor: pointer }
.found rect { fill: #c0f }"""


class Box(msgspec.Struct):
    """A function under one caller: its samples, and what it calls."""

    count: int = 0
    calls: dict[str, "Box"] = {}


class Placed(msgspec.Struct, frozen=True):
    """A box with its place: row above the bottom, samples to its left."""

    name: str
    row: int
    left: int
    count: int


def _tree(stacks: Iterable[Stack]) -> Box:
    root = Box()
    for stack in stacks:
        box = root
        box.count += stack.count
        for frame in stack.frames:
            box = box.calls.setdefault(frame, Box())
            box.count += stack.count
    return root


def _placed(root: Box) -> Iterator[Placed]:
    todo = [("all", root, 0, 0)]
    while todo:
        name, box, row, left = todo.pop()
        yield Placed(name, row, left, box.count)
        for called, inner in sorted(box.calls.items()):
            todo.append((called, inner, row + 1, left))
            left += inner.count


def colour(frame: str) -> str:
    """Say whose a function is."""
    if is_ours(frame):
        return "#f4a261" if is_python(frame) else "#e76f51"
    return "#a8c8e4" if is_python(frame) else "#c9c9c9"


def _drawn(box: Placed, samples: int, height: int) -> str:
    scale = WIDTH / samples
    x, y, width = box.left * scale, height - (box.row + 1) * ROW, box.count * scale
    room = int(width / LETTER)
    name = box.name if len(box.name) <= room else box.name[: room - 1] + "…"
    text = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(name)}</text>' if room > 3 else ""
    return (
        f"<g><title>{escape(box.name)}: {box.count:,} samples, {box.count / samples:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{colour(box.name)}"/>{text}</g>\n'
    )


def draw(stacks: Iterable[Stack], title: str) -> str:
    """Draw the flame graph of stacks."""
    root = _tree(stacks)
    boxes = list(_placed(root))
    height = HEAD + (max(box.row for box in boxes) + 1) * ROW
    visible = [box for box in boxes if box.count * WIDTH >= NARROW * root.count]
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">\n',
            f"<style>{_STYLE}\n</style>\n<script><![CDATA[{_SCRIPT}\n]]></script>\n",
            f'<text x="4" y="18">{escape(title)}</text>\n',
            f'<text class="search" x="{WIDTH - 60}" y="18" onclick="search()">Search</text>\n',
            *(_drawn(box, root.count, height) for box in visible),
            "</svg>\n",
        ]
    )
