from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import redis
from flask import Flask, session

from flask_picklesession import AllowList, ConfigurationError, PickleSession, PickleSessionInterface
from flask_picklesession.config import LARGEST_PAYLOAD, largest_record, read_settings

from .samples import Basket
from .support import Browser

URL = "redis://localhost:1/0"


def read(**config: Any) -> Any:
    """Return the settings of a configuration with these keys of ours."""
    return read_settings({f"PICKLESESSION_{key}": value for key, value in config.items()})


def problems(**config: Any) -> tuple[str, ...]:
    """Return what is wrong with a configuration."""
    with pytest.raises(ConfigurationError) as caught:
        read(**config)
    return caught.value.problems


class TestDefaults:
    def test_defaults(self) -> None:
        """A URL is all that is needed."""
        settings = read(URL=URL)

        assert settings.key_prefix == "session:"
        assert settings.idle_timeout is None
        assert settings.absolute_timeout is None
        assert settings.limits.max_size == 262144
        assert settings.identity_keys == ("_user_id", "user_id")
        assert settings.grace == 10
        assert settings.timeout == 1.0
        assert settings.no_store is True

    def test_keys_of_others_are_left_alone(self) -> None:
        """Only keys with our prefix are looked at."""
        assert read_settings({"SESSION_TYPE": "redis", "PICKLESESSION_URL": URL}).key_prefix == "session:"


class TestValues:
    @pytest.mark.parametrize("value", [90, 90.0, timedelta(seconds=90)])
    def test_times_are_seconds_or_timedelta(self, value: object) -> None:
        """A time is a number of seconds or a timedelta."""
        settings = read(URL=URL, IDLE_TIMEOUT=value, ABSOLUTE_TIMEOUT=value, GRACE=value, TIMEOUT=value)

        assert settings.idle_timeout == settings.absolute_timeout == settings.grace == settings.timeout == 90.0

    def test_profile_gives_the_timeouts(self) -> None:
        """NIST SP 800-63B-4: a day overall and an hour without use; shorter ones may be set."""
        settings = read(URL=URL, PROFILE="aal2")
        assert (settings.idle_timeout, settings.absolute_timeout) == (3600, 86_400)
        assert read(URL=URL, PROFILE="aal1").idle_timeout is None
        assert read(URL=URL, PROFILE="aal3", IDLE_TIMEOUT=60).idle_timeout == 60

    @pytest.mark.parametrize(
        ("lifetime", "expected"), [(300, 300), (timedelta(minutes=5), 300), (7200, 3600), (None, 3600)]
    )
    def test_profile_makes_no_timeout_longer(self, lifetime: Any, expected: float) -> None:
        """Found in review: a lifetime of five minutes became an hour."""
        given = {} if lifetime is None else {"PERMANENT_SESSION_LIFETIME": lifetime}

        settings = read_settings({**given, "PICKLESESSION_URL": URL, "PICKLESESSION_PROFILE": "aal2"})

        assert settings.idle_timeout == expected

    def test_profile_without_an_idle_timeout_leaves_flasks(self) -> None:
        """Then it is Flask's, as it is at each request; a wrong one is named with any profile."""
        given = {"PICKLESESSION_URL": URL, "PICKLESESSION_PROFILE": "aal1"}

        assert read_settings({**given, "PERMANENT_SESSION_LIFETIME": 300}).idle_timeout is None
        for profile in ("aal1", "aal2"):
            for lifetime in (0, 1e-9):
                with pytest.raises(ConfigurationError, match="PERMANENT_SESSION_LIFETIME: must be more than 0"):
                    read_settings({**given, "PICKLESESSION_PROFILE": profile, "PERMANENT_SESSION_LIFETIME": lifetime})

    def test_profile_allows_no_longer_timeouts(self) -> None:
        """Each is named."""
        assert problems(URL=URL, PROFILE="aal3", IDLE_TIMEOUT=901, ABSOLUTE_TIMEOUT=43_201) == (
            "PICKLESESSION_IDLE_TIMEOUT: 901 seconds; the profile aal3 allows 900 at most",
            "PICKLESESSION_ABSOLUTE_TIMEOUT: 43201 seconds; the profile aal3 allows 43200 at most",
        )

    def test_plain_until_is_the_end_of_a_day(self) -> None:
        """The day counts, in UTC."""
        for value in ("2026-12-31", date(2026, 12, 31)):
            assert read(URL=URL, PLAIN_UNTIL=value).plain_until == datetime(2027, 1, 1, tzinfo=UTC).timestamp()

    def test_plain_until_may_be_the_last_day_of_all(self) -> None:
        """Found in review: the day after it has no date, and that was a raw error."""
        last = datetime(9999, 12, 31, tzinfo=UTC).timestamp()

        assert read(URL=URL, PLAIN_UNTIL="9999-12-31").plain_until == last + 86_400

    def test_largest_payload_is_what_redis_holds(self) -> None:
        """With its header, a record of that size is a string of 512 MiB."""
        settings = read(URL=URL, MAX_SIZE=LARGEST_PAYLOAD, MAX_VALUE_SIZE=LARGEST_PAYLOAD)

        assert largest_record(settings.limits) == 512 << 20
        assert len(problems(URL=URL, MAX_SIZE=LARGEST_PAYLOAD + 1, MAX_VALUE_SIZE=10**20)) == 2

    def test_encryption_needs_its_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without cryptography the configuration says what to install."""
        monkeypatch.setattr("flask_picklesession.config.find_spec", lambda name: None)

        (problem,) = problems(URL=URL, ENCRYPT=True)

        assert "flask-picklesession[encryption]" in problem

    def test_grace_may_be_zero(self) -> None:
        """ASVS 7.2.4 without a deviation: no grace at all."""
        assert read(URL=URL, GRACE=0).grace == 0

    @pytest.mark.parametrize("value", [0, -1, "90", None, True, float("inf"), float("nan"), timedelta(0), 10**400])
    def test_timeout_of_another_kind_is_named(self, value: object) -> None:
        """What is no positive time is refused with the key's name."""
        (problem,) = problems(URL=URL, TIMEOUT=value)

        assert problem.startswith("PICKLESESSION_TIMEOUT: must be ")

    @pytest.mark.parametrize("value", [0, timedelta(0), timedelta(seconds=-1), 10**12, "a day"])
    def test_lifetime_that_redis_would_refuse_is_named(self, value: object) -> None:
        """Flask's own setting is the idle timeout where ours is not set."""
        given = {"PERMANENT_SESSION_LIFETIME": value, "PICKLESESSION_URL": URL}
        with pytest.raises(ConfigurationError) as caught:
            read_settings(given)

        (problem,) = caught.value.problems
        assert problem.startswith("PERMANENT_SESSION_LIFETIME: must be ")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("KEY_PREFIX", ""),
            ("KEY_PREFIX", 5),
            ("KEY_PREFIX", "caf\u00e9:"),
            ("KEY_PREFIX", "a\n"),
            ("KEY_PREFIX", "a" * 201),
            ("IDLE_TIMEOUT", 0),
            ("IDLE_TIMEOUT", 10**400),
            ("ABSOLUTE_TIMEOUT", "1"),
            ("ENCRYPT", 1),
            ("PLAIN_UNTIL", "tomorrow"),
            ("PLAIN_UNTIL", 5),
            ("MERGE", ["counter"]),
            ("ON_DROP", "raise"),
            ("RENEW_EVERY", 0),
            ("ON_REUSE", "ignore"),
            ("MAX_SESSIONS_PER_USER", 0),
            ("MAX_SESSIONS_PER_USER", True),
            ("ON_MAX_SESSIONS", None),
            ("REMEMBER_CLIENT", "yes"),
            ("PROFILE", "aal4"),
            ("PROFILE", 2),
            ("MERGE", {"n": "count"}),
            ("MERGE", {1: "counter"}),
            ("IDLE_TIMEOUT", 1e-9),
            ("ABSOLUTE_TIMEOUT", 0.0005),
            ("IDENTITY_KEYS", ["user_id", "_flashes"]),
            ("MERGE", {"n": ["counter"]}),
            ("MAX_DEPTH", 1000),
            ("MAX_SIZE", 0),
            ("MAX_SIZE", True),
            ("MAX_SIZE", 10**20),
            ("MAX_VALUE_SIZE", 10**20),
            ("MAX_SIZE", 1.5),
            ("IDENTITY_KEYS", "user_id"),
            ("IDENTITY_KEYS", []),
            ("IDENTITY_KEYS", [5]),
            ("GRACE", -1),
            ("NO_STORE", "yes"),
            ("ALLOW", "nomodule"),
            ("ALLOW", ["no.such.module:Class"]),
            ("ALLOW", [len]),
            ("URL", 5),
            ("URL", "http://localhost"),
            ("URL", "localhost:6379"),
        ],
    )
    def test_wrong_value_is_named(self, key: str, value: object) -> None:
        """Each wrong value is refused, with the key's name."""
        (problem,) = problems(**{"URL": URL, key: value})

        assert f"PICKLESESSION_{key}" in problem


class TestProblems:
    def test_all_problems_at_once(self) -> None:
        """Nobody mends a configuration one start at a time."""
        found = problems(TIMEUOT=2, MAX_SIZE="big", GRACE=-1)

        assert len(found) == 4
        assert found[0] == "PICKLESESSION_TIMEUOT is not a setting. Did you mean PICKLESESSION_TIMEOUT?"

    def test_message_holds_all_of_them(self) -> None:
        """The error's text can be worked through line by line."""
        with pytest.raises(ConfigurationError, match=r"(?s)not configured.*MAX_SIZE.*GRACE"):
            read(URL=URL, MAX_SIZE="big", GRACE=-1)

    def test_neither_url_nor_client_shows_both_lines(self) -> None:
        """There is no default on localhost."""
        (problem,) = problems()

        assert "PICKLESESSION_URL =" in problem
        assert "PICKLESESSION_CLIENT =" in problem

    def test_url_and_client_are_too_much(self) -> None:
        """One of them is meant, and we do not guess which."""
        with redis.Redis() as client:
            (problem,) = problems(URL=URL, CLIENT=client)

        assert "both" in problem

    def test_client_of_another_kind_is_named(self) -> None:
        """A client is a redis-py client."""
        (problem,) = problems(CLIENT="redis://localhost")

        assert "PICKLESESSION_CLIENT" in problem

    def test_client_that_decodes_is_refused(self) -> None:
        """Sessions are bytes: ``decode_responses=True`` would fail at the first read."""
        with redis.Redis(decode_responses=True) as client:
            (problem,) = problems(CLIENT=client)

        assert "decode_responses" in problem

    def test_password_is_not_shown(self) -> None:
        """A URL's password stays out of the error."""
        (problem,) = problems(URL="http://user:hunter2@localhost")

        assert "hunter2" not in problem


class TestSources:
    def test_environment(self, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every key can come from ``app.config.from_prefixed_env()``."""
        monkeypatch.setenv("FLASK_PICKLESESSION_URL", redis_url)
        monkeypatch.setenv("FLASK_PICKLESESSION_KEY_PREFIX", prefix)
        monkeypatch.setenv("FLASK_PICKLESESSION_TIMEOUT", "2.5")
        monkeypatch.setenv("FLASK_PICKLESESSION_NO_STORE", "false")
        monkeypatch.setenv("FLASK_PICKLESESSION_ALLOW", '["tests.samples:Basket"]')
        monkeypatch.setenv("FLASK_PICKLESESSION_IDENTITY_KEYS", '["account"]')
        app = Flask("site")
        app.config.from_prefixed_env()

        settings = read_settings(app.config)

        assert settings.timeout == 2.5
        assert settings.no_store is False
        assert settings.identity_keys == ("account",)

    def test_ready_client(self, raw: redis.Redis, prefix: str, make_app: Callable[..., Flask]) -> None:
        """PICKLESESSION_CLIENT takes a client instead of a URL."""
        browser = Browser(make_app(PICKLESESSION_URL=None, PICKLESESSION_CLIENT=raw))
        browser.visit(lambda: session.update(n=[1]))
        browser.visit(lambda: session.update(m=2))

        assert browser.ask(lambda: dict(session)) == {"n": [1], "m": 2}

    @pytest.mark.parametrize(
        "allow", [Basket, [Basket], ["tests.samples:Basket"], "tests.samples:Basket", AllowList.of([Basket])]
    )
    def test_allow_takes_classes_names_and_lists(self, make_app: Callable[..., Flask], allow: object) -> None:
        """PICKLESESSION_ALLOW can be written in several ways."""
        browser = Browser(make_app(PICKLESESSION_ALLOW=allow))
        browser.visit(lambda: session.update(basket=Basket(["x"])))

        assert browser.ask(lambda: session["basket"]) == Basket(["x"])


class TestInstallation:
    def test_drop_in_reads_the_configuration_at_the_first_request(self) -> None:
        """``app.session_interface = PickleSessionInterface()`` alone checks nothing; a request then fails loudly."""
        app = Flask("site")
        app.secret_key = "x"
        app.session_interface = PickleSessionInterface()
        app.testing = True

        with pytest.raises(ConfigurationError):
            app.test_client().get("/")

    def test_extension_checks_at_once(self) -> None:
        """``PickleSession(app)`` validates now."""
        with pytest.raises(ConfigurationError):
            PickleSession(Flask("site"))

    def test_extension_names_secret_keys_and_our_settings_at_once(self, make_app: Callable[..., Flask]) -> None:
        """Found in review: a wrong SECRET_KEY was told when all else was right, wrong fallbacks without one never."""
        for secret, count in ((5, 3), (None, 2)):
            app = make_app(SECRET_KEY=secret, SECRET_KEY_FALLBACKS="abc", PICKLESESSION_GRACE=-1)
            with pytest.raises(ConfigurationError) as caught:
                PickleSession(app)
            found = caught.value.problems

            assert len(found) == count
            assert found[0].startswith("PICKLESESSION_GRACE: must be ")
            assert found[-1].startswith("SECRET_KEY_FALLBACKS must be a list")

    @pytest.mark.parametrize(
        ("setting", "values"),
        [
            ("NAME", ["", "a;b", "a b", "a=b", "\u00e9", 5, None]),
            ("SAMESITE", ["", "bogus", 5, True]),
            ("DOMAIN", [5, True, "a;b", "a b.com", "a\nb", "example..com", "a" * 70 + ".com", "\ud800.com"]),
            ("PATH", [5, "/a;b", "/\x00", "/\ud800"]),
            ("HTTPONLY", [[], {}]),
            ("SECURE", [["x"]]),
            ("PARTITIONED", [{}]),
        ],
    )
    def test_extension_names_the_settings_of_a_cookie_that_is_none(
        self, make_app: Callable[..., Flask], setting: str, values: list[object]
    ) -> None:
        """Found by an attack: each failed at every request, or lost the session."""
        for value in values:
            app = make_app(**{f"SESSION_COOKIE_{setting}": value})

            with pytest.raises(ConfigurationError, match=f"SESSION_COOKIE_{setting} must be "):
                PickleSession(app)

    @pytest.mark.parametrize(
        "settings",
        [
            {"SAMESITE": "lax"},
            {"NAME": "__Host-session", "SECURE": True},
            {"DOMAIN": ".example.org", "PATH": "/shop"},
            {"DOMAIN": False},
        ],
    )
    def test_extension_takes_the_settings_of_a_cookie(
        self, make_app: Callable[..., Flask], settings: dict[str, object]
    ) -> None:
        """As Flask and Werkzeug do."""
        PickleSession(make_app(**{f"SESSION_COOKIE_{name}": value for name, value in settings.items()}))

    @pytest.mark.parametrize(
        ("settings", "wrong"),
        [
            ({"NAME": "__Host-s"}, "SECURE"),
            ({"NAME": "__Secure-s"}, "SECURE"),
            ({"NAME": "__host-s"}, "SECURE"),
            ({"NAME": "__Host-s", "SECURE": True, "DOMAIN": "example.org"}, "DOMAIN"),
            ({"NAME": "__Host-s", "SECURE": True, "PATH": "/shop"}, "PATH"),
            ({"SAMESITE": "None"}, "SECURE"),
        ],
    )
    def test_extension_names_what_browsers_refuse(
        self, make_app: Callable[..., Flask], settings: dict[str, object], wrong: str
    ) -> None:
        """Nobody would ever have a session."""
        app = make_app(**{f"SESSION_COOKIE_{name}": value for name, value in settings.items()})

        with pytest.raises(ConfigurationError, match=f"SESSION_COOKIE_{wrong} must be .* where ") as caught:
            PickleSession(app)

        assert len(caught.value.problems) == 1

    @pytest.mark.parametrize("lifetime", [None, "3600", timedelta.max])
    @pytest.mark.parametrize("idle_timeout", [None, 60])
    def test_extension_names_a_lifetime_that_is_none(
        self, make_app: Callable[..., Flask], lifetime: object, idle_timeout: int | None
    ) -> None:
        """Found by an attack: with an idle timeout of its own, each permanent session was an error."""
        app = make_app(PERMANENT_SESSION_LIFETIME=lifetime, PICKLESESSION_IDLE_TIMEOUT=idle_timeout)

        with pytest.raises(ConfigurationError, match="PERMANENT_SESSION_LIFETIME: must be "):
            PickleSession(app)

    def test_init_app_installs_the_interface(self, redis_url: str) -> None:
        """The extension can be made before the application."""
        sessions, app = PickleSession(), Flask("site")
        app.config["PICKLESESSION_URL"] = redis_url

        sessions.init_app(app)

        assert isinstance(app.session_interface, PickleSessionInterface)

    def test_several_applications_in_one_process(self, redis_url: str, prefix: str) -> None:
        """One interface serves several applications, each with its own settings."""
        from .support import make_app

        interface = PickleSessionInterface()
        one = make_app(redis_url, prefix + "one:", PICKLESESSION_ALLOW=[Basket])
        two = make_app(redis_url, prefix + "two:")
        one.session_interface = two.session_interface = interface
        first, second = Browser(one), Browser(two)
        first.visit(lambda: session.update(basket=Basket(["x"])))
        second.visit(lambda: session.update(n=2))

        assert first.ask(lambda: session["basket"]) == Basket(["x"])
        assert second.ask(lambda: dict(session)) == {"n": 2}
        assert second.visit(lambda: session.update(basket=Basket())).status_code == 500

    def test_says_that_it_is_pickle_based(self) -> None:
        """Flask's flag for interfaces that pickle."""
        assert PickleSessionInterface.pickle_based is True


@pytest.mark.parametrize(
    ("setting", "value", "most"),
    [
        ("TIMEOUT", 301, "300 seconds"),
        ("GRACE", 301, "300 seconds"),
        ("ABSOLUTE_TIMEOUT", 1e20, "ten years"),
        ("IDLE_TIMEOUT", 1e12, "ten years"),
    ],
)
def test_times_beyond_sense(make_app: Callable[..., Flask], setting: str, value: float, most: str) -> None:
    """Found in review: each failed at its first use, in its own way; or had no effect."""
    with pytest.raises(ConfigurationError, match=f"PICKLESESSION_{setting}: must be at most .*{most}"):
        PickleSession(make_app(**{f"PICKLESESSION_{setting}": value}))
