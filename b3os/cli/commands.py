"""The commands: `up`, one for each process, `migrate`, `doctor`."""

import asyncio
import os
import sys
from pathlib import Path

import click

from b3os.embedded.supervisor import Options, Supervisor
from b3os.errors import B3osError
from b3os.settings import load_settings

PROCESSES = ("api", "master", "worker", "actions", "watchdog")


@click.group()
def cli() -> None:
    """B3OS: workflows for blockchain operations."""


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="address the API listens on")
@click.option("--port", default=8080, show_default=True, help="port the API listens on")
@click.option("--data-dir", default=".b3os", show_default=True, type=click.Path(path_type=Path))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(0), help="0: they run elsewhere")
@click.option("--masters", default=1, show_default=True, type=click.IntRange(1))
@click.option("--actions", default=1, show_default=True, type=click.IntRange(1))
@click.option("--api", default=1, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="print the ready line as JSON")
def up(host: str, port: int, data_dir: Path, workers: int, masters: int, actions: int, api: int, as_json: bool) -> None:
    """Start servers and all processes; Ctrl-C stops everything."""
    options = Options(
        host=host, port=port, data_dir=data_dir, workers=workers, masters=masters, actions=actions, api=api,
        as_json=as_json,
    )  # fmt: skip
    sys.exit(Supervisor(options).run())


@cli.command()
@click.option("--quiet", is_flag=True, help="say nothing when there is nothing to do")
def migrate(quiet: bool) -> None:
    """Bring the database schema up to date; safe when many start at once."""
    from b3os.store.migrate import migrate as apply

    applied = asyncio.run(apply(load_settings().database_url))
    if applied or not quiet:
        click.echo(f"applied: {', '.join(applied) or 'nothing to do'}", err=True)


@cli.command()
@click.option("--data-dir", default=".b3os", show_default=True, type=click.Path(path_type=Path))
@click.option("--port", default=8080, show_default=True)
def doctor(data_dir: Path, port: int) -> None:
    """Say what is wrong with this set-up, and the fix."""
    from b3os.embedded.doctor import examine

    findings = examine(data_dir, port, load_settings())
    for finding in findings:
        click.echo(f"✗ {finding.problem}\n  fix: {finding.fix}")
    if findings:
        sys.exit(1)
    click.echo("✓ nothing wrong found")


def _process(name: str) -> click.Command:
    @cli.command(name, help=f"Run the {name} process alone, with the servers named by the settings.")
    def start() -> None:
        os.execv(sys.executable, [sys.executable, "-m", f"services.{name}"])  # noqa: S606 - our own interpreter

    return start


for _name in PROCESSES:
    _process(_name)


def main() -> None:
    """Run the command; an error of ours is one clear line."""
    try:
        cli()
    except B3osError as error:
        click.echo(f"b3os: {error.message}", err=True)
        sys.exit(1)
