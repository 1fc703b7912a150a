"""The names that stand in segments, and the tokens that make the C pickler write them.

The pickler writes a callable as module and name. What it is given here is never the class or function that
restores a value, but a token that can do nothing: names are turned into restorers only when they are read, by
the table of the allow-list that reads them.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from ..exceptions import RegistrationError

#: What stands before each name in a segment: this module, where the pickler looks for the token that it writes.
MARKER = __name__

#: What a name may look like: ``module:QualName``, or one that the application gives.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:<>-]{0,199}\Z")

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.:<>-]")

#: Characters of the longest name.
LONGEST_NAME = 200

#: Ends the name of the restorer that fills a record in, beside the one that makes it.
STATE_SUFFIX = "#state"

#: Ends the name of the restorer that builds a record at once, of its fields.
FLAT_SUFFIX = "#flat"

#: Ends what tells, beside the names that are allowed, that a class is stored with the names of its fields.
FIELDS_SUFFIX = "#fields"

# The pickler reads a dot in a name as attribute access.
_DOT, _DOT_WRITTEN = ".", "/"


class Token:
    """Stands for a name while it is written. There is one for each name, process-wide."""

    __slots__ = ("written",)

    def __init__(self, written: str) -> None:
        self.written = written

    def __call__(self, *args: Any) -> NoReturn:
        # Only there since the pickler wants a callable.
        raise TypeError("a token restores nothing")


def token_for(name: str) -> Token:
    """Return the token that makes the pickler write a name."""
    # An object of its own, and no setattr, which would intern it: were it the same object as an equal str of a user,
    # the pickler would write a reference to that one instead of the name.
    written = written_name(name).decode("ascii")
    token = globals().setdefault(written, Token(written))
    if type(token) is not Token:
        # It is looked up beside what this module has of its own.
        raise RegistrationError(f"{name!r} cannot be a name: it stands for something else here. Take another one")
    return token


def written_name(name: str) -> bytes:
    """Return a name as it stands in a segment."""
    return name.replace(_DOT, _DOT_WRITTEN).encode("ascii")


def read_name(written: bytes) -> str:
    """Return the name that stands in a segment, for messages."""
    return shown_name(written.decode("ascii", "replace").replace(_DOT_WRITTEN, _DOT).partition("#")[0])


def shown_name(name: str) -> str:
    """Return a name that somebody may have made up, fit for logs and terminals: no line breaks, no control sequences.

    :param name: a name that stands in hostile bytes.
    """
    return _NOT_IN_NAMES.sub("?", name[:LONGEST_NAME])
