"""``flask session ...``: look after the sessions of an application from its command line."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from .audit import Audit, AuditReport, allow_line
from .exceptions import ConfigurationError, StoreUnavailableError
from .interface import AppState, state_of
from .pickling.inspector import as_json, render
from .storage.store import HANDLE_LENGTH

_HANDLE = re.compile(rf"[A-Za-z0-9_-]{{{HANDLE_LENGTH}}}")


class _SessionGroup(AppGroup):
    """Turns what the configuration and the store say into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from error
        except StoreUnavailableError as error:
            raise click.ClickException(f"The store is unavailable: {error}") from error


session_cli = _SessionGroup("session", help="Look after the sessions of this application.")


def _state() -> AppState:
    # As current_app is a proxy, and states are kept by application.
    return state_of(current_app._get_current_object())  # type: ignore[attr-defined]  # LocalProxy's


def _audit(state: AppState, cursor: str = "0") -> Audit:
    app = current_app
    if not app.secret_key:
        raise click.ClickException("There is no SECRET_KEY: this application has no sessions.")
    return Audit(
        state.store, state.signers(app).record, state.settings.allow.names(), state.settings.limits, cursor=cursor
    )


def _handle(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not _HANDLE.fullmatch(value):
        raise click.BadParameter(f"a handle has {HANDLE_LENGTH} letters, digits, - and _")
    return value


#: Handles may begin with a dash.
_TAKES_HANDLE = {"ignore_unknown_options": True}


@session_cli.command(context_settings=_TAKES_HANDLE)
@click.argument("handle", callback=_handle)
@click.option("--values", is_flag=True, help="Show values, too, not only their types and sizes.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def show(handle: str, values: bool, is_json: bool) -> None:
    """Show what a session holds, without building any of it."""
    lines, tree = _audit(_state()).tree_of(handle)
    if is_json:
        click.echo(json.dumps({"record": lines, "payload": as_json(tree, values=values) if tree else None}, indent=2))
    else:
        click.echo("\n".join(lines))
        if tree:
            click.echo(render(tree, values=values))
    if tree is None:
        raise click.exceptions.Exit(1)


@session_cli.command()
@click.option("--cursor", default="0", help="Go on where an earlier audit stopped.")
@click.option(
    "--step",
    type=click.IntRange(1, 5000),
    default=200,
    show_default=True,
    help="Keys that the server looks at in one step.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def audit(cursor: str, step: int, is_json: bool) -> None:
    """List the types that live sessions hold, and those that the allow-list lacks. Reads only."""
    running = _audit(_state(), cursor)
    try:
        with click.progressbar(length=running.keys(), label="Keys", file=sys.stderr) as bar:
            for _records in running.steps(count=step):
                bar.update(step)
    except (KeyboardInterrupt, StoreUnavailableError) as error:
        click.echo(f"Stopped ({type(error).__name__}). Go on with --cursor {running.report.cursor}", err=True)
    if is_json:
        click.echo(json.dumps(running.report.as_json(), indent=2))
    else:
        _print_report(running.report)
    if running.report.missing or running.report.unreadable:
        raise click.exceptions.Exit(1)


def _print_report(report: AuditReport) -> None:
    click.echo(f"{report.sessions} sessions of {report.size} bytes, {report.renewed} renewed, {report.ended} ended")
    click.echo(f"{report.outdated} under an old secret key, or plain where they should be encrypted")
    for reason, count in report.unreadable.most_common():
        click.echo(f"{count} unreadable: {reason}")
    click.echo("\nTypes in use:")
    for name, count in report.types.most_common():
        click.echo(f"{count:>9}  {name}")
    if report.missing:
        click.echo("\nNot on the allow-list (sessions, and the line that allows it):")
        for name, count in report.missing.most_common():
            click.echo(f"{count:>9}  {allow_line(name)}")
    for reason, count in report.refused.most_common():
        click.echo(f"{count:>9}  would be refused: {reason}")
    if report.near_limit:
        click.echo(f"\n{report.near_limit} near the limit of size; some of them:")
        for handle, size in report.largest.items():
            click.echo(f"{size:>9}  {handle}")
