"""The flame graph: well-formed, every function with its figures, widths that are shares."""

from xml.etree import ElementTree

from bench.flame import ROW, WIDTH, draw
from bench.stacks import Stack

SVG = "{http://www.w3.org/2000/svg}"
MAIN, TICK, PUT = "<module> (services/master/__main__.py:1)", "tick (b3os/a.py:1)", "put (b3os/a.py:9)"
STACKS = [Stack((MAIN, TICK), 6), Stack((MAIN, PUT), 3), Stack((MAIN, TICK, PUT), 1)]


def boxes() -> dict[str, list[dict[str, str]]]:
    root = ElementTree.fromstring(draw(STACKS, "a <title> & more"))
    found: dict[str, list[dict[str, str]]] = {}
    for group in root.iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        found.setdefault(title.text or "", []).append(rect.attrib)
    return found


def test_every_function_under_each_caller_is_a_box_with_its_share() -> None:
    assert sorted(boxes()) == [
        f"{MAIN}: 10 samples, 100.0%", "all: 10 samples, 100.0%", f"{PUT}: 1 samples, 10.0%",
        f"{PUT}: 3 samples, 30.0%", f"{TICK}: 7 samples, 70.0%",
    ]  # fmt: skip


def test_a_box_lies_on_its_caller_and_is_as_wide_as_its_share() -> None:
    found = {title: rects[0] for title, rects in boxes().items()}
    main, tick = found[f"{MAIN}: 10 samples, 100.0%"], found[f"{TICK}: 7 samples, 70.0%"]
    inner = found[f"{PUT}: 1 samples, 10.0%"]
    assert (float(main["width"]), float(tick["width"])) == (WIDTH, WIDTH * 0.7)
    assert int(tick["y"]) == int(main["y"]) - ROW
    assert int(inner["y"]) == int(tick["y"]) - ROW
    assert float(tick["x"]) <= float(inner["x"]) < float(tick["x"]) + float(tick["width"])


def test_boxes_that_cannot_be_seen_are_not_drawn() -> None:
    drawn = draw([Stack((MAIN,), 1_000_000), Stack((MAIN, PUT), 1)], "t")
    assert "put (" not in drawn
