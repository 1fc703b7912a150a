"""A pytest plugin for Flask's own test suite: every application in it gets our session interface."""

from __future__ import annotations

import os

import _pytest.monkeypatch
from flask import Flask
from werkzeug.datastructures import ImmutableDict

from flask_picklesession import PickleSessionInterface

# Flask 3.1.3's tests use the name that pytest 8 had.
if not hasattr(_pytest.monkeypatch, "notset"):
    _pytest.monkeypatch.notset = _pytest.monkeypatch.NOTSET  # type: ignore[attr-defined]  # pytest's own

if url := os.environ.get("FLASK_SUITE_URL"):
    Flask.session_interface = PickleSessionInterface()
    Flask.default_config = ImmutableDict({**Flask.default_config, "PICKLESESSION_URL": url})
