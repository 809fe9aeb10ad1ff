"""What can be wrong with a set-up, each with its exact fix."""

import asyncio
import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path

import asyncpg
import msgspec
import redis

from b3os.embedded.locate import postgres_bin, valkey_server
from b3os.embedded.servers import SOCKET_FOLDER_LIMIT
from b3os.embedded.supervisor import check_port
from b3os.errors import Unavailable
from b3os.settings import Settings
from b3os.store.migrate import pending


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, and what to do."""

    problem: str
    fix: str


def examine(data_dir: Path, port: int, settings: Settings) -> list[Finding]:
    """Look at compiler, headers, platform, port, data folder, servers and schema."""
    findings = [*_toolchain(), *_data_folder(data_dir.resolve())]
    try:
        check_port("127.0.0.1", port)
    except Unavailable as error:
        findings.append(Finding(error.message, f"run `b3os up --port {port + 1}`"))
    return findings + _servers(settings)


def _toolchain() -> list[Finding]:
    findings = []
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        findings.append(Finding("no C compiler", "install one: `apt-get install gcc` or `dnf install gcc`"))
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        findings.append(Finding("no Python headers", "install them: `apt-get install python3-dev`"))
    if platform.system() == "Linux" and platform.libc_ver()[0] != "glibc":
        findings.append(
            Finding("musl libc: no embedded servers here", "set DATABASE_URL, REDIS_OPS_URL and REDIS_DATA_URL")
        )
    return findings


def _data_folder(folder: Path) -> list[Finding]:
    findings = []
    if len(str(folder)) > SOCKET_FOLDER_LIMIT:
        findings.append(
            Finding(
                f"{folder} is too long for a Unix socket",
                "sockets go to the temp folder; a shorter --data-dir avoids it",
            )
        )
    version_file = folder / "pg/PG_VERSION"
    if version_file.exists():
        answer = subprocess.run([postgres_bin() / "postgres", "--version"], capture_output=True, text=True, check=True)
        ours, theirs = answer.stdout.split()[2].split(".")[0], version_file.read_text().strip()
        if ours != theirs:
            findings.append(
                Finding(
                    f"{folder} was made by PostgreSQL {theirs}, the binaries here are {ours}",
                    "dump it with the old version and restore, or use another --data-dir",
                )
            )
    return findings


def _servers(settings: Settings) -> list[Finding]:
    findings = []
    if settings.database_url:
        findings += asyncio.run(_database(settings.database_url))
    else:
        findings += _found(postgres_bin)
    for name, url in (("REDIS_OPS_URL", settings.redis_ops_url), ("REDIS_DATA_URL", settings.redis_data_url)):
        if not url:
            continue
        try:
            redis.Redis.from_url(url, socket_timeout=3).ping()
        except (redis.RedisError, OSError, ValueError) as error:
            findings.append(Finding(f"{name} is unreachable: {error}", f"start that server or correct {name}"))
    if not settings.redis_ops_url:
        findings += _found(valkey_server)
    return findings


async def _database(url: str) -> list[Finding]:
    try:
        behind = await pending(url)
    except (Unavailable, OSError, asyncpg.PostgresError, TimeoutError) as error:
        return [Finding(f"DATABASE_URL is unreachable: {error}", "start that server or correct DATABASE_URL")]
    return [Finding(f"the schema is behind: {', '.join(behind)}", "run `b3os migrate`")] if behind else []


def _found(locate: object) -> list[Finding]:
    assert callable(locate)
    try:
        locate()
    except Unavailable as error:
        return [Finding(error.message, "install the server or set the URLs")]
    return []
