"""Size and shape of the source: a file you can read at lunch, a function you can hold in the head."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LIMIT, TEST_FILE_LIMIT, FUNCTION_LIMIT = 600, 900, 80
BANNED_NAMES = {"utils", "common", "helpers", "models"}


def product_files() -> list[Path]:
    return [p for folder in ("b3os", "services") for ext in ("*.py", "*.pyx") for p in (ROOT / folder).rglob(ext)]


def test_files_stay_below_their_size_limit() -> None:
    for path in product_files():
        assert len(path.read_text().splitlines()) <= FILE_LIMIT, f"{path}: split it along its ideas"
    for path in (ROOT / "tests").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= TEST_FILE_LIMIT, f"{path}: split it"


def test_functions_stay_below_their_size_limit() -> None:
    for path in product_files():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= FUNCTION_LIMIT, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_every_file_opens_with_what_it_holds() -> None:
    for path in product_files():
        if path.suffix == ".py":
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path}: say in a docstring what lives here"


def test_no_file_is_named_for_nothing() -> None:
    for path in product_files():
        assert path.stem not in BANNED_NAMES, f"{path}: name it for what it holds"


def test_list_of_cores_equals_the_disk() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text())
    cores = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CORES"
    )
    on_disk = {p.stem for p in (ROOT / "b3os/_speedups").glob("*.pyx")}
    assert set(cores) == on_disk
    assert {p.stem for p in (ROOT / "b3os/_speedups").glob("*.pyi")} >= on_disk
