from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, session
from redis.exceptions import ResponseError

from flask_picklesession import PickleSession, StoreUnavailableError
from flask_picklesession.audit import Audit, allow_line
from flask_picklesession.cli import session_cli
from flask_picklesession.interface import state_of
from flask_picklesession.storage.store import Store

from .conftest import MakeApp
from .pickling.models import Money, Point
from .samples import Basket
from .support import Browser, plant

Run = Callable[..., Any]


def run(app: Flask, *arguments: str) -> Any:
    """Run ``flask session ...`` and return its result."""
    return app.test_cli_runner().invoke(session_cli, arguments)


@pytest.fixture(name="handle")
def _handle(app: Flask) -> str:
    browser = Browser(app)
    browser.visit(lambda: session.update(name="a secret word", lines=[1, 2]))
    handle: str = browser.ask(lambda: session.handle)  # type: ignore[attr-defined]  # our own
    return handle


class TestShow:
    def test_types_and_sizes(self, app: Flask, handle: str) -> None:
        """What a session holds is shown without its values."""
        result = run(app, "show", handle)

        assert result.exit_code == 0
        assert "kind: live" in result.output
        assert "lines: list, 2 items" in result.output
        assert "secret word" not in result.output

    def test_values_where_asked_for(self, app: Flask, handle: str) -> None:
        """--values shows them."""
        assert "'a secret word'" in run(app, "show", handle, "--values").output

    def test_json(self, app: Flask, handle: str) -> None:
        """--json is for programs."""
        found = json.loads(run(app, "show", handle, "--json").output)

        assert [part["label"] for part in found["payload"]["parts"]] == ["name", "lines"]

    def test_times_are_shown(self, make_app: MakeApp) -> None:
        """A session of somebody, with an absolute timeout."""
        app = make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60)
        browser = Browser(app)
        browser.visit(lambda: session.update(user_id=1))
        handle = browser.ask(lambda: session.handle)  # type: ignore[attr-defined]  # our own

        output = run(app, "show", handle).output

        assert "authenticated: 20" in output
        assert "deadline: 20" in output

    def test_ended_session(self, app: Flask) -> None:
        """What is left of it tells why."""
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        handle = browser.ask(lambda: session.handle)  # type: ignore[attr-defined]  # our own
        browser.visit(lambda: session.clear())

        result = run(app, "show", handle)

        assert result.exit_code == 1
        assert "reason: destroyed" in result.output

    def test_session_under_an_old_key(self, make_app: MakeApp, prefix: str) -> None:
        """Told, so that one knows when the old key can go."""
        browser = Browser(make_app(SECRET_KEY="an old key of this application"))
        browser.visit(lambda: session.update(n=1))
        handle = browser.ask(lambda: session.handle)  # type: ignore[attr-defined]  # our own
        app = make_app(
            SECRET_KEY="a new key of this application", SECRET_KEY_FALLBACKS=["an old key of this application"]
        )

        assert "under an old secret key" in run(app, "show", handle).output

    def test_absent_session(self, app: Flask) -> None:
        """There is none, and the exit status says so; a handle may begin with a dash."""
        result = run(app, "show", "-" + "x" * 42)

        assert result.exit_code == 1
        assert "There is no session" in result.output
        assert json.loads(run(app, "show", "x" * 43, "--json").output)["payload"] is None

    def test_what_is_no_handle(self, app: Flask) -> None:
        """A session id by mistake, a key, a typo: refused, and not sent to the server."""
        result = run(app, "show", "session:x")

        assert result.exit_code == 2
        assert "a handle has 43" in result.output

    @pytest.mark.parametrize("command", ["show", "revoke"])
    def test_handle_that_is_no_text(self, app: Flask, command: str) -> None:
        """Found in review: bytes that are no UTF-8 were a traceback."""
        result = run(app, command, "\udcff" * 43)

        assert result.exit_code == 2
        assert "a handle has 43" in result.output

    @pytest.mark.parametrize("stored", [b"cos\nsystem\n(S'x'\ntR.", b"x", b"x" * 200])
    def test_whatever_stands_there(self, app: Flask, handle: str, raw: Any, prefix: str, stored: bytes) -> None:
        """A record that nobody of us signed is shown as what it is."""
        raw.set(prefix + handle, stored)

        result = run(app, "show", handle)

        assert result.exit_code == 0
        assert "UNREADABLE: the record's signature does not match" in result.output

    def test_another_type_of_value(self, app: Flask, handle: str, raw: Any, prefix: str) -> None:
        """A list in the record's place."""
        raw.delete(prefix + handle)
        raw.lpush(prefix + handle, "x")

        result = run(app, "show", handle)

        assert result.exit_code == 1
        assert "another type of value" in result.output


class TestAudit:
    def test_types_in_use(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """Each type with its count, those that are missing with the line that allows them; nothing is changed."""
        newer = make_app(PICKLESESSION_ALLOW=[Basket, Money, Point])
        for number in range(3):
            Browser(newer).visit(lambda number=number: session.update(b=[Basket([]), Money(1)][: number + 1]))
        before = {key: (raw.get(key), raw.ttl(key)) for key in raw.keys(prefix + "*")}

        result = run(make_app(PICKLESESSION_ALLOW=[Money]), "audit")

        assert result.exit_code == 1
        assert "3 sessions of " in result.output
        assert '        3  PICKLESESSION_ALLOW = [..., "tests.samples:Basket"]' in result.output
        assert "        2  tests.pickling.models:Money" in result.output
        assert {key: (raw.get(key), raw.ttl(key)) for key in raw.keys(prefix + "*")} == before

    def test_nothing_to_look_at(self, app: Flask) -> None:
        """A healthy store is exit status 0."""
        Browser(app).visit(lambda: session.update(n=1))

        result = run(app, "audit")

        assert result.exit_code == 0
        assert "1 sessions of " in result.output

    def test_unreadable_ended_and_outdated(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """What cannot be read is counted by its reason; what is under an old key is counted."""
        old, new = secrets.token_hex(), secrets.token_hex()
        browser = Browser(make_app(SECRET_KEY=old))
        browser.visit(lambda: session.update(n=1))
        ended = Browser(make_app(SECRET_KEY=old))
        ended.visit(lambda: session.update(n=1))
        ended.visit(lambda: session.clear())
        raw.set(prefix + "x" * 43, b"forged")
        raw.lpush(prefix + "y" * 43, b"a list")
        raw.setrange(prefix + "z" * 43, 2 << 20, b"huge")
        raw.set(prefix + "another key", b"not ours to look at")
        raw.set(prefix + "!" * 43, b"nor this")

        app = make_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old], PICKLESESSION_ABSOLUTE_TIMEOUT=60)
        found = json.loads(run(app, "audit", "--json").stdout)

        assert (found["sessions"], found["ended"], found["outdated"]) == (1, 1, 1)
        assert found["unreadable"] == {
            "the record's signature does not match": 1,
            "another type of value, or one that is too large, stands in the record's place": 2,
        }
        assert "2 unreadable: another type" in run(app, "audit").output

    def test_past_session_is_not_counted(self, make_app: MakeApp, move_clock: Callable[[float], None]) -> None:
        """A record beyond its deadline counts as absent."""
        app = make_app(PICKLESESSION_ABSOLUTE_TIMEOUT=60)
        Browser(app).visit(lambda: session.update(n=1))
        move_clock(61)

        assert "0 sessions of " in run(app, "audit").output

    def test_near_the_limit(self, make_app: MakeApp) -> None:
        """Large sessions are counted, and some are listed."""
        app = make_app(PICKLESESSION_MAX_SIZE=1000)
        for _session in range(22):
            Browser(app).visit(lambda: session.update(text="x" * 900))

        output = run(app, "audit").output

        assert "22 near the limit of size" in output
        assert output.count("      9") == 20

    def test_payload_that_would_be_refused(self, app: Flask, handle: str) -> None:
        """What somebody planted who holds the key is told apart from a missing type."""
        from example_app.attack import plant

        plant(handle, app)

        assert "would be refused: os:system: not on" not in run(app, "audit").output
        assert "os:system" in run(app, "audit").output

    def test_session_that_goes_meanwhile(self, app: Flask, handle: str, raw: Any, prefix: str) -> None:
        """Seen by the scan, gone before it is read: not counted."""
        state = app.extensions["picklesession"]
        running = Audit(state.store, state.signers(app).record, frozenset(), state.settings.limits)
        raw.delete(prefix + handle)

        running._look_at(handle, None)

        assert running.report.sessions == 0

    def test_other_refused_parts(self, app: Flask, handle: str, raw: Any, prefix: str) -> None:
        """What is no missing type is told as it is."""
        state = app.extensions["picklesession"]
        sealer, key = state.signers(app).record, (prefix + handle).encode()
        record = sealer.unseal(key, raw.get(key))[0]
        segment = b"\x80\x05" + b"Ptext\n" + b"."
        raw.set(key, sealer.seal(key, record._replace(body=state.serializer.dump_container({"bad": segment}))))

        assert "would be refused: " in run(app, "audit").output

    def test_count_of_keys_that_may_not_be_asked(self, app: Flask, link: Any, prefix: str) -> None:
        """An ACL without DBSIZE costs the progress bar, nothing else; one without SCAN says so."""

        class Refusing:
            bounds_replies = True

            def call(self, deadline: float, *command: Any) -> Any:
                raise ResponseError("NOPERM")

            def scan(self, *arguments: Any) -> Any:
                raise ResponseError("NOPERM")

        store = Store(Refusing(), prefix=prefix)  # type: ignore[arg-type]

        assert store.count_keys(deadline=0) == 0
        with pytest.raises(StoreUnavailableError, match="refused"):
            store.scan("0", count=1, deadline=0)

    def test_goes_on_where_it_stopped(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        """Interrupted, it prints what it has and where to go on."""
        for _session in range(30):
            Browser(app).visit(lambda: session.update(n=1))
        state = app.extensions["picklesession"]
        scan, calls = state.store.scan, []

        def interrupted(cursor: str, **kwargs: Any) -> Any:
            calls.append(cursor)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return scan(cursor, **kwargs)

        monkeypatch.setattr(state.store, "scan", interrupted)
        first = run(app, "audit", "--step", "5", "--json")
        if calls == ["0"]:
            pytest.skip("the server gave all keys in one step")
        rest = run(app, "audit", "--step", "5", "--json", "--cursor", calls[1])

        assert f"Go on with --cursor {calls[1]}" in first.stderr
        seen = json.loads(first.stdout)["sessions"] + json.loads(rest.stdout)["sessions"]
        assert seen >= 30

    @pytest.mark.parametrize("cursor", ["x", "", "-1", "-5-0", "0-x", "5-", "\u00b2", "\udcff", "9" * 21], ids=ascii)
    def test_what_is_no_cursor(self, app: Flask, cursor: str) -> None:
        """Found in review: with a Cluster it was a traceback."""
        result = run(app, "audit", "--cursor", cursor)

        assert result.exit_code == 2
        assert "a cursor is what an interrupted audit printed" in result.output

    def test_allow_line_of_a_given_name(self) -> None:
        """A name that is none of a class says how it was given."""
        assert allow_line("cart") == '@allow(name="cart")'


class TestErrors:
    def test_wrong_configuration(self) -> None:
        """All problems, without a traceback."""
        app = Flask("wrong")
        app.config.update(SECRET_KEY="x", PICKLESESSION_TIMEUOT=5)

        result = run(app, "audit")

        assert result.exit_code == 1
        assert "PICKLESESSION_TIMEUOT is not a setting" in result.output

    def test_no_secret_key(self, redis_url: str) -> None:
        """An application without one has no sessions."""
        app = Flask("keyless")
        app.config.update(PICKLESESSION_URL=redis_url)
        PickleSession(app)

        assert "There is no SECRET_KEY" in run(app, "show", "x" * 43).output

    def test_store_away(self) -> None:
        """One line and an exit status."""
        app = Flask("away")
        app.config.update(SECRET_KEY=secrets.token_hex(), PICKLESESSION_URL="redis://127.0.0.1:1/0")
        PickleSession(app)

        result = run(app, "show", "x" * 43)

        assert result.exit_code == 1
        assert "The store is unavailable" in result.output


class TestUsers:
    @pytest.fixture(name="users")
    def _users(self, make_app: MakeApp) -> Flask:
        app = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
        PickleSession(app)
        for user in (7, 7, 8):
            Browser(app).visit(lambda user=user: session.update(user_id=user), headers={"User-Agent": "Lynx\x1b[2J"})
        Browser(app).visit(lambda: session.update(n=1))
        return app

    def test_list(self, users: Flask) -> None:
        """A line for each session, what browsers say of themselves without control characters."""
        lines = run(users, "list", "--user", "7").output.splitlines()

        assert len(lines) == 2
        assert all("127.0.0.1 Lynx" in line and "\x1b" not in line for line in lines)
        assert len(json.loads(run(users, "list", "--user", "7", "--json").output)) == 2
        assert run(users, "list", "--user", "9").output == ""

    def test_list_of_what_somebody_planted(self, make_app: MakeApp) -> None:
        """Found in review: who holds the secret key filled the terminal; it is cut as at sign-in."""
        app = make_app(PICKLESESSION_REMEMBER_CLIENT=True)
        browser = Browser(app)
        browser.visit(lambda: session.update(user_id=7))
        plant(app, browser, user_id=7, _client="\x1b" + "a" * 1000 + "\n\x1b" + "b" * 100_000)
        PickleSession(app)

        (info,) = json.loads(run(app, "list", "--user", "7", "--json").output)

        assert info["address"] == r"\x1b" + "a" * 63
        assert info["user_agent"] == r"\x1b" + "b" * 199

    def test_list_without_what_is_not_known(self, app: Flask, raw: Any, prefix: str) -> None:
        """No TTL, no client."""
        PickleSession(app)
        browser = Browser(app)
        browser.visit(lambda: session.update(user_id=7))
        raw.persist(prefix + browser.ask(lambda: session.handle))  # type: ignore[attr-defined]  # our own
        raw.persist(raw.keys(prefix + "?" * 43)[0])

        assert "bytes" in run(app, "list", "--user", "7").output

    def test_revoke(self, users: Flask) -> None:
        """By handle, by user, all."""
        handles = [info["handle"] for info in json.loads(run(users, "list", "--user", "7", "--json").output)]
        assert run(users, "revoke", handles[0]).output == "1 ended\n"
        assert run(users, "revoke", *handles).output == "1 ended\n"
        assert run(users, "revoke", "--user", "8").output == "1 ended\n"
        assert run(users, "revoke", "--all").output == "1 ended\n"
        assert run(users, "revoke", "--user", "8", "--scan").output == "0 ended\n"

    def test_revoke_all_leaves_what_it_cannot_read(self, users: Flask, raw: Any, prefix: str) -> None:
        """And says so."""
        raw.set(prefix + "f" * 43, b"forged")

        assert "1 could not be read" in run(users, "revoke", "--all").output

    @pytest.mark.parametrize("arguments", [(), ("--user", "7", "--all"), ("x" * 43, "--all")])
    def test_revoke_wants_one_thing(self, users: Flask, arguments: tuple[str, ...]) -> None:
        """Nothing ends by accident."""
        result = run(users, "revoke", *arguments)

        assert result.exit_code == 2
        assert "Give handles, or --user, or --all" in result.output

    def test_stats(self, users: Flask) -> None:
        """Sessions, users, bytes."""
        found = json.loads(run(users, "stats", "--json").stdout)

        assert (found["sessions"], found["signed in"], found["users"]) == (4, 3, 2)
        assert "4  sessions" in run(users, "stats").output

    def test_store_that_is_away(self, make_app: MakeApp) -> None:
        """What was to be revoked may not be over."""
        app = make_app(PICKLESESSION_URL="redis://127.0.0.1:1/0")
        PickleSession(app)

        assert "may not be over" in run(app, "revoke", "--user", "7").output
        assert "unavailable" in run(app, "stats").output

    def test_renewed_sessions_are_counted(self, make_app: MakeApp, move_clock: Callable[[float], None]) -> None:
        """Old ids, which lead to the new ones, and are shown as what they are."""
        app = make_app(PICKLESESSION_RENEW_EVERY=10)
        browser = Browser(app)
        browser.visit(lambda: session.update(n=1))
        old = browser.ask(lambda: session.handle)  # type: ignore[attr-defined]  # our own
        move_clock(10)
        browser.visit(lambda: session.get("n"))

        assert json.loads(run(app, "stats", "--json").stdout)["renewed"] == 1
        assert "kind: renewed" in run(app, "show", old).output


class TestPolicy:
    def test_what_is_in_force(self, make_app: MakeApp) -> None:
        """Settings, and rows that they do not meet with what would help."""
        output = run(make_app(), "policy").output

        assert "absolute timeout      none" in output
        assert "NOT MET  ASVS 7.3.2  absolute lifetime  (PICKLESESSION_ABSOLUTE_TIMEOUT)" in output
        assert "met      ASVS 7.4.1" in output
        assert "yours    ASVS 7.4.2" in output

    def test_strict_application_meets_all(self, make_app: MakeApp) -> None:
        """All rows that a store can meet."""
        app = make_app(
            SECRET_KEY=secrets.token_hex(),
            PICKLESESSION_PROFILE="aal3",
            PICKLESESSION_MAX_SESSIONS_PER_USER=3,
            PICKLESESSION_RENEW_EVERY=600,
            SESSION_COOKIE_NAME="__Host-session",
            SESSION_COOKIE_SECURE=True,
            SESSION_COOKIE_SAMESITE="Lax",
        )
        found = json.loads(run(app, "policy", "--json").output)

        assert [row["name"] for row in found["rows"] if row["verdict"] == "NOT MET"] == []
        assert found["in force"]["new id by itself"] == "every 600 s"


class TestDoctor:
    def test_healthy(self, make_app: MakeApp, raw: Any, prefix: str) -> None:
        """All is well, and nothing but an ended record is left."""
        app = make_app(SECRET_KEY=secrets.token_hex(), SESSION_COOKIE_SECURE=True)
        result = run(app, "doctor")

        assert result.exit_code == 0, result.output
        assert "created, loaded, saved and ended" in result.output
        assert [raw.ttl(key) <= 10 for key in raw.keys(prefix + "*")] == [True]

    def test_what_to_change(self, make_app: MakeApp) -> None:
        """Exit status 1, and lines that say what."""
        result = run(make_app(SECRET_KEY="dev"), "doctor")

        assert result.exit_code == 1
        assert "LOOK  SECRET_KEY is one that examples use" in result.output
        assert "LOOK  SESSION_COOKIE_SECURE is off" in result.output

    def test_no_secret_key(self, make_app: MakeApp) -> None:
        """Nothing else is looked at."""
        assert "no sessions" in run(make_app(SECRET_KEY=None), "doctor").output

    def test_ready_client(self, make_app: MakeApp, raw: Any) -> None:
        """redis-py's clients answer INFO with a dict."""
        app = make_app(PICKLESESSION_URL=None, PICKLESESSION_CLIENT=raw)

        assert "The server answers (" in run(app, "doctor").output

    @pytest.mark.parametrize(
        ("answers", "expected"),
        [
            (b"maxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n", "LOOK  maxmemory-policy is allkeys-lru"),
            (b"maxmemory:100\r\nmaxmemory_policy:noeviction\r\n", "ok    maxmemory-policy is noeviction"),
            (b"aof_enabled:0\r\nrdb_last_save_time:1\r\n", "No append-only file"),
            (ResponseError("NOPERM"), "maxmemory-policy is not told"),
        ],
        ids=["evicts", "keeps", "not persistent", "not told"],
    )
    def test_server(self, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, answers: Any, expected: str) -> None:
        """What the server tells of itself; managed ones often tell nothing."""
        app = make_app(SECRET_KEY=secrets.token_hex())
        link = state_of(app).settings.link
        call = link.call

        def answer(deadline: float, *command: Any) -> Any:
            if command[0] != "INFO":
                return call(deadline, *command)
            if isinstance(answers, Exception):
                raise answers
            return answers

        monkeypatch.setattr(link, "call", answer)

        assert expected in run(app, "doctor").output

    def test_without_scripts(self, make_app: MakeApp) -> None:
        """Slower, and told."""
        app = make_app()
        state_of(app).store._has_scripts = False

        assert "Scripts are not allowed" in run(app, "doctor").output
