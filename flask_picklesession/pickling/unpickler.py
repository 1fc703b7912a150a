"""The only unpickler of this package. Everything that it is given was verified before."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from ..exceptions import PayloadError
from .restorers import Restorer


class AllowListUnpickler(pickle.Unpickler):
    """Builds values; names become restorers of one allow-list, and nothing else.

    A subclass for each allow-list, made by :func:`unpickler_for`, holds its table: so no Python code runs for a value
    that names nothing.
    """

    restorers: ClassVar[Mapping[tuple[str, str], Restorer]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the restorer for a name. Imports nothing and looks up no attribute."""
        restorer = self.restorers.get((module, name))
        if restorer is None:
            # The verifier has refused it already; this is the second lock.
            raise PayloadError("a name that is not on the allow-list")
        return restorer

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: nothing that we write refers to anything outside."""
        raise PayloadError("a persistent id")


def unpickler_for(restorers: Mapping[tuple[str, str], Restorer]) -> type[AllowListUnpickler]:
    """Return the unpickler of one allow-list.

    :param restorers: module and name, as they stand in segments -> restorer.
    """
    return type("AllowListUnpickler", (AllowListUnpickler,), {"restorers": MappingProxyType(dict(restorers))})


def unpickle(data: bytes, unpickler: type[AllowListUnpickler]) -> Any:
    """Build the value that verified bytes hold.

    :param data: verified bytes.
    :param unpickler: of the allow-list that verified them.
    :raises PayloadError: if a restorer does not accept its arguments.
    """
    try:
        return unpickler(io.BytesIO(data)).load()
    except PayloadError:
        raise
    except Exception as error:
        # Restorers, hash and equality of values raise what they like: nine types of error in a census of mutations.
        reason = f"a restorer or key was refused with {type(error).__name__}"
    # Outside of the handler: what was raised may quote the bytes, so it must not travel along as the context.
    raise PayloadError(reason)
