"""Write values: exact built-in types by the C pickler, all others by the allow-list's reducers, or refuse."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NoReturn

from .allowlist import LAZY_STRINGS, Allowed, Reduction, text_reduction, type_name, with_kept
from .frames import without_frames
from .names import Token
from .records import KeptFields, Trial
from .restorers import Refused


class RefusedValue(Exception):
    """Carries the object that cannot be stored to whoever finds its path.

    :param value: the object.
    :param reason: why, or ``None`` if its type is not allowed.
    """

    def __init__(self, value: object, reason: str | None = None) -> None:
        self.value = value
        self.reason = reason


class ValuePickler(pickle.Pickler):
    """A pickler for one value at a time; used again and again.

    :param allowed: class -> how it is stored.
    :param conversions: class -> what makes a str of its instances.
    """

    def __init__(self, allowed: dict[type, Allowed], conversions: dict[type, Callable[[Any], Any]]) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=5, buffer_callback=_refuse_buffer)
        self._allowed = allowed
        self._conversions = conversions
        self._kept: KeptFields | None = None
        #: What must be tried of the last value, for the riskiest that it held.
        self.trial = Trial.NONE
        self._quick_reducer = _quick_reducer(allowed, self._reduce_other)
        self._set_reducer(self._quick_reducer)

    def _set_reducer(self, reducer: Callable[[Any], Reduction]) -> None:
        # The C pickler calls it for each value that is not of an exact built-in type. A function on the instance: as a
        # method it would take a third longer.
        self.reducer_override = reducer  # type: ignore[method-assign]  # as the pickle module allows

    def _reduce_other(self, value: Any) -> Reduction:
        cls = type(value)
        if cls is Token:
            return value.written
        allowed = self._allowed.get(cls)
        if allowed is not None:
            try:
                reduction = allowed.reduce(value)
            except Refused as error:
                raise RefusedValue(value, str(error)) from None
            except Exception as error:
                if allowed.trial and allowed.add_fields is None:
                    # Of a reduce= that the application brings.
                    raise
                raise _taken_apart(value, error) from None
            self.trial = max(self.trial, allowed.trial)
            if self._kept and allowed.add_fields is not None:
                return with_kept(reduction, self._kept, value, allowed.add_fields)
            return reduction
        convert = self._conversions.get(cls)
        if convert is None and type_name(cls) in LAZY_STRINGS:
            convert = str
        if convert is None:
            raise RefusedValue(value)
        return text_reduction(str.__str__(convert(value)))

    def dump_value(self, value: object, kept: KeptFields | None) -> bytes:
        """Return the pickle of a value, without frames.

        :param kept: fields to write back that this worker does not know.
        :raises RefusedValue: if something in it cannot be stored.
        """
        if kept:
            self._kept = kept
            self._set_reducer(self._reduce_other)
        self.trial = Trial.NONE
        self._file.seek(0)
        self._file.truncate()
        self.clear_memo()
        try:
            self.dump(value)
            return without_frames(self._file.getvalue())
        finally:
            if kept:
                self._kept = None
                self._set_reducer(self._quick_reducer)
            self.clear_memo()


def _quick_reducer(allowed: dict[type, Allowed], other: Callable[[Any], Reduction]) -> Callable[[Any], Reduction]:
    reduce = {cls: found.reduce for cls, found in allowed.items() if not found.trial}
    reduce[Token] = attrgetter("written")
    find = reduce.get

    def reducer_override(value: Any) -> Reduction:
        found = find(type(value))
        if found is None:
            return other(value)
        try:
            return found(value)
        except Refused as error:
            raise RefusedValue(value, str(error)) from None
        except Exception as error:
            raise _taken_apart(value, error) from None

    return reducer_override


def _taken_apart(value: object, error: Exception) -> RefusedValue:
    """Return why what is not whole cannot be stored, such as a Fraction of numpy's ints."""
    return RefusedValue(value, f"could not be taken apart ({type(error).__name__})")


def _refuse_buffer(buffer: pickle.PickleBuffer) -> NoReturn:
    # Would be written as bytes, and come back as bytes.
    raise RefusedValue(buffer)


def dump_scalars(mapping: dict[str, Any]) -> bytes:
    """Return the pickle of a dict of str keys, scalars and bytes: without memo and frames."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5)
    # No memo: then no reference can be made, and the container's verifier need not follow any.
    pickler.fast = True
    pickler.dump(mapping)
    return without_frames(file.getvalue())
