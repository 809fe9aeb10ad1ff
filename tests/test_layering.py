"""Who may import whom. A broken rule prints why the rule is there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BASE = {"errors", "ids"}
PURE = {"abi", "workflow", "detect", "run", "health"}
ADAPTERS = {"store", "queue", "stream", "cache", "net", "chain", "auth"}

#: package of b3os -> what it may import of b3os, and why not more.
RULES: dict[str, tuple[set[str], str]] = {
    "_speedups": ({"errors"}, "the compiled cores know nothing of ours but how to fail"),
    "abi": (BASE, "a codec: it knows bytes and types, nothing of ours"),
    "workflow": (BASE | {"_speedups"}, "rules are pure: the engine runs in simulation with none of the I/O"),
    "detect": (
        BASE | {"_speedups", "workflow", "abi"},
        "rules are pure: the engine runs in simulation with none of the I/O",
    ),
    "run": (
        BASE | {"_speedups", "workflow"},
        "rules are pure: the engine runs in simulation with none of the I/O",
    ),
    "net": (BASE, "the guard is at the bottom: everything that leaves passes through it"),
    "chain": (
        BASE | {"abi", "metrics"},
        "a chain client is handed its HTTP client, it does not choose one",
    ),
    "queue": (
        BASE | {"metrics", "redis_client", "redis_link"},
        "the queue carries ids; it must not know what they mean",
    ),
    "stream": (
        BASE | {"metrics", "redis_client", "redis_link"},
        "a stream carries run events; it must not know how runs work",
    ),
    "cache": (BASE | {"metrics", "redis_client"}, "the cache stores bytes"),
    "sandbox": (BASE, "the process that runs foreign code must not be able to import what it could misuse"),
    "databases": (BASE, "SQLite files of organizations: no rule of the engine, and nothing of the engine's own store"),
    "store": (BASE | {"metrics"}, "SQL in, structs out; no rule of the engine lives beside the SQL"),
    "auth": (BASE | {"store"}, "who is calling, and their secrets"),
    "reading": (
        BASE | {"_speedups", "abi", "chain", "detect"},
        "how a chain is read for triggers: masters and backtests share it, so it knows no store and no run",
    ),
    "inbound": (
        BASE | {"auth", "detect", "handover", "metrics", "queue", "run", "store", "wire"},
        "the one admission path of calls: services share it, nothing below knows it",
    ),
    "actions": (BASE | {"abi", "net", "chain", "workflow", "metrics"}, "the framework must not know its content"),
    "providers": (BASE | {"actions", "abi", "chain", "net"}, "an action is content: spec and chain types only"),
    "health": (BASE, "rules are pure; the watchdog looks"),
}

FORBIDDEN_IN_PURE = {
    "asyncio",
    "socket",
    "time",
    "random",
    "os",
    "aiohttp",
    "asyncpg",
    "redis",
    "uvloop",
    "secrets",
}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(RULES))
def test_package_imports_only_what_it_may(package: str) -> None:
    allowed, why = RULES[package]
    for path in sources(f"b3os/{package}"):
        for name in imports_of(path):
            if not name.startswith(("b3os.", "services")):
                continue
            top = name.split(".")[1] if name.startswith("b3os.") else name
            assert top in allowed | {package}, f"{path.relative_to(ROOT)} imports {name}: {why}"


@pytest.mark.parametrize("package", sorted(PURE))
def test_pure_packages_do_no_io(package: str) -> None:
    for path in sources(f"b3os/{package}"):
        bad = {name.split(".")[0] for name in imports_of(path)} & FORBIDDEN_IN_PURE
        assert not bad, f"{path.relative_to(ROOT)} imports {bad}: clock, randomness and I/O are passed in"


def test_library_imports_no_service() -> None:
    for path in sources("b3os"):
        bad = {name for name in imports_of(path) if name.split(".")[0] == "services"}
        assert not bad, f"{path.relative_to(ROOT)} imports {bad}: the library is below the processes"


def test_services_do_not_import_each_other() -> None:
    for service in (ROOT / "services").iterdir():
        for path in service.rglob("*.py") if service.is_dir() else ():
            for name in imports_of(path):
                if name.startswith("services."):
                    assert name.split(".")[1] == service.name, (
                        f"{path.relative_to(ROOT)} imports {name}: processes talk by wire"
                    )


def test_only_settings_and_entries_read_the_environment() -> None:
    for path in sources("b3os") + sources("services"):
        if path.name in {"settings.py", "__main__.py"} or "embedded" in path.parts or "cli" in path.parts:
            continue
        text = path.read_text()
        bad = [word for word in ("os.environ", "getenv") if word in text]
        assert not bad, f"{path.relative_to(ROOT)}: settings live in settings.py"


def test_lua_lives_in_queue_scripts() -> None:
    for path in (ROOT / "b3os").rglob("*.lua"):
        assert path.parent == ROOT / "b3os/queue/scripts", f"{path}: Lua has one home"


def test_sql_lives_in_store_sql_and_migrations() -> None:
    homes = {ROOT / "b3os/store/sql", ROOT / "migrations"}
    for path in [*(ROOT / "b3os").rglob("*.sql"), *(ROOT / "services").rglob("*.sql")]:
        assert path.parent in homes, f"{path}: SQL has one home"


def test_web3_and_eth_account_are_imported_lazily() -> None:
    for path in sources("b3os") + sources("services"):
        for node in ast.parse(path.read_text()).body:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            )
            for name in names:
                assert name.split(".")[0] not in {"web3", "eth_account"}, f"{path}: costs 0.6 s and 52 MB at import"
