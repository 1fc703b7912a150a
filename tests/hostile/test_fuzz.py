"""A short run of the fuzzer, the seeds that a long one kept, and CPython's own bad pickles."""

from __future__ import annotations

import contextlib
import unittest
from pathlib import Path
from typing import Any

import pytest

from flask_picklesession import PayloadError

from . import fuzz


def test_short_search() -> None:
    """What is made and mutated holds the oracle; it is another seed each day only by hand."""
    _tried, accepted = fuzz.search(20261123, lambda tried: tried == 10_000)

    assert accepted > 100


@pytest.mark.parametrize("seed", sorted(fuzz.SEEDS.glob("*.hex")), ids=lambda path: path.stem)
def test_kept_seeds(seed: Any) -> None:
    """What reached each branch in a run of an hour."""
    for line in seed.read_text("ascii").split():
        fuzz.check(bytes.fromhex(line))


def _bad_pickles() -> list[bytes]:
    """Return what CPython's tests of unpicklers load."""
    try:
        from test import pickletester
    except ImportError:
        pytest.skip("this Python comes without its tests")
    found: list[bytes] = []

    class Harvest(pickletester.AbstractUnpickleTests, unittest.TestCase):  # type: ignore[misc]  # untyped
        bad_stack_errors = truncated_errors = (PayloadError,)
        truncated_data_error = (PayloadError, "")
        size_overflow_errors = (PayloadError,)

        def loads(self, data: bytes, **_options: Any) -> Any:
            found.append(bytes(data))
            raise PayloadError("harvested")

    for name in unittest.TestLoader().getTestCaseNames(Harvest):
        test = Harvest(name)
        with contextlib.suppress(Exception, unittest.SkipTest):
            test.setUp()
            getattr(test, name)()
    return found


def test_pickles_of_cpythons_own_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refused, or is plain data that our pickler could have written."""
    # One of them writes a module.
    monkeypatch.chdir(tmp_path)
    found = _bad_pickles()

    for data in found:
        fuzz.check(data)
    assert len(found) > 100
