"""``flask session ...``: look after the sessions of an application from its command line."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from .audit import Audit, AuditReport, allow_line
from .doctor import examine
from .exceptions import ConfigurationError, SessionUnavailableError, StoreUnavailableError
from .extension import PickleSession
from .interface import AppState, state_of
from .pickling.inspector import as_json, printable, render
from .standards import Verdict, in_force, rows
from .storage.store import HANDLE_LENGTH, is_handle
from .user_sessions import SessionInfo


class _SessionGroup(AppGroup):
    """Turns what the configuration and the store say into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from error
        except StoreUnavailableError as error:
            raise click.ClickException(f"The store is unavailable: {error}") from error
        except SessionUnavailableError as error:
            raise click.ClickException("The store is unavailable; what was to be revoked may not be over.") from error


session_cli = _SessionGroup("session", help="Look after the sessions of this application.")


def _state() -> AppState:
    # As current_app is a proxy, and states are kept by application.
    return state_of(current_app._get_current_object())  # type: ignore[attr-defined]  # LocalProxy's


def _audit(state: AppState, cursor: str = "0") -> Audit:
    app = current_app
    if not app.secret_key:
        raise click.ClickException("There is no SECRET_KEY: this application has no sessions.")
    return Audit(
        state.store, state.signers(app).record, state.settings.allow.forms(), state.settings.limits, cursor=cursor
    )


def _handle(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not is_handle(value):
        raise click.BadParameter(f"a handle has {HANDLE_LENGTH} letters, digits, - and _")
    return value


def _cursor(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not _CURSOR.fullmatch(value):
        raise click.BadParameter("a cursor is what an interrupted audit printed")
    return value


# A server's, and for a Cluster that of a node behind its position.
_CURSOR = re.compile("[0-9]{1,20}(-[0-9]{1,20})?")

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
@click.option("--cursor", default="0", callback=_cursor, help="Go on where an earlier audit stopped.")
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
    running, is_stopped = _audit(_state(), cursor), False
    try:
        with click.progressbar(length=running.keys(), label="Keys", file=sys.stderr) as bar:
            for _records in running.steps(count=step):
                bar.update(step)
    except (KeyboardInterrupt, StoreUnavailableError) as error:
        is_stopped = True
        click.echo(f"Stopped ({type(error).__name__}). Go on with --cursor {running.report.cursor}", err=True)
    if is_json:
        click.echo(json.dumps(running.report.as_json(), indent=2))
    else:
        _print_report(running.report)
    if is_stopped or running.report.missing or running.report.unreadable:
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


def _sessions() -> PickleSession:
    _state()
    return PickleSession()


@session_cli.command("list")
@click.option("--user", required=True, help="Whose: what the session holds under its identity key.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def list_(user: str, is_json: bool) -> None:
    """List the live sessions of a user, newest first."""
    found = _sessions().sessions_of(user)
    if is_json:
        click.echo(json.dumps([_as_json(info) for info in found], indent=2, default=str))
        return
    for info in found:
        seen = "" if info.last_seen is None else f"  seen {info.last_seen:%Y-%m-%d %H:%M}"
        agent = printable(" ".join(filter(None, (info.address, info.user_agent))))
        click.echo(f"{info.handle}  since {info.created_at:%Y-%m-%d %H:%M}{seen}  {info.size} bytes  {agent}".rstrip())


def _as_json(info: SessionInfo) -> dict[str, Any]:
    """Return it as what :func:`json.dumps` takes; what a browser said of itself without control characters."""
    said = {"user_agent": info.user_agent, "address": info.address}
    return asdict(info) | {name: text and printable(text) for name, text in said.items()}


@session_cli.command(context_settings=_TAKES_HANDLE)
@click.argument("handles", nargs=-1, callback=lambda _ctx, _param, given: [_handle(_ctx, _param, one) for one in given])
@click.option("--user", help="All sessions of this user.")
@click.option("--scan", is_flag=True, help="With --user: look at all sessions, in case the index of users was lost.")
@click.option("--all", "is_all", is_flag=True, help="All sessions of the application.")
def revoke(handles: list[str], user: str | None, scan: bool, is_all: bool) -> None:
    """End sessions: by handle, of a user, or all."""
    if bool(handles) + (user is not None) + is_all != 1:
        raise click.UsageError("Give handles, or --user, or --all.")
    sessions, unread = _sessions(), 0
    if is_all:
        count, unread = sessions.revoke_all()
    elif user is not None:
        count = sessions.revoke_user(user, scan=scan)
    else:
        count = sum(sessions.revoke(handle) for handle in handles)
    click.echo(f"{count} ended")
    if unread:
        click.echo(f"{unread} could not be read and were left: they are nobody's session")


@session_cli.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def stats(is_json: bool) -> None:
    """Count sessions, users and bytes. Reads only."""
    running = _audit(_state())
    with click.progressbar(length=running.keys(), label="Keys", file=sys.stderr) as bar:
        for records in running.steps():
            bar.update(records)
    report = running.report
    found = {
        "sessions": report.sessions,
        "signed in": report.signed_in,
        "users": len(report.users),
        "bytes": report.size,
        "renewed": report.renewed,
        "ended": report.ended,
        "unreadable": sum(report.unreadable.values()),
        "under an old secret key": report.outdated,
    }
    if is_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for name, count in found.items():
            click.echo(f"{count:>12}  {name}")


@session_cli.command()
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def policy(is_json: bool) -> None:
    """Print what is in force, and which rows of OWASP ASVS 5.0 and NIST SP 800-63B-4 it meets."""
    app, state = current_app._get_current_object(), _state()  # type: ignore[attr-defined]  # LocalProxy's
    settings, found = in_force(app, state.settings), rows(app, state.settings)
    if is_json:
        click.echo(json.dumps({"in force": settings, "rows": [row._asdict() for row in found]}, indent=2))
        return
    for name, value in settings.items():
        click.echo(f"{name:<22}{value}")
    click.echo()
    for row in found:
        hint = f"  ({row.why})" if row.why and row.verdict is not Verdict.MET else ""
        click.echo(f"{row.verdict.value:<9}{row.name:<12}{row.asked}{hint}")


@session_cli.command()
def doctor() -> None:
    """Examine the store and the configuration, and say what to change."""
    app, state = current_app._get_current_object(), _state()  # type: ignore[attr-defined]  # LocalProxy's
    is_well = True
    for finding in examine(app, state):
        is_well = is_well and finding.is_well
        click.echo(f"{'ok  ' if finding.is_well else 'LOOK'}  {finding.text}")
    if not is_well:
        raise click.exceptions.Exit(1)
