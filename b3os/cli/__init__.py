"""The `b3os` command."""

from b3os.cli.commands import main

__all__ = ["main"]
