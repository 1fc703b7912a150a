"""The extension: installs the interface, and checks the configuration at once."""

from __future__ import annotations

from flask import Flask

from .interface import EXTENSION_KEY, AppState, PickleSessionInterface


class PickleSession:
    """Give applications sessions of Python objects in Redis.

    ::

        sessions = PickleSession(app)

    :param app: the application, or ``None`` to call :meth:`init_app` later.
    :raises ConfigurationError: with all that is wrong with the application's configuration.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read and check the configuration, and install the session interface.

        :param app: the application.
        :raises ConfigurationError: with all that is wrong with its configuration.
        """
        app.extensions[EXTENSION_KEY] = AppState(app)
        app.session_interface = PickleSessionInterface()
