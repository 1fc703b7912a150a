"""The conformance kit, which anybody can run against a session interface: ours reaches all of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import conformance

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", conformance.SCENARIOS)
def test_scenario(redis_url: str, name: str) -> None:
    """Nothing is lost, nothing comes back, nothing runs."""
    well, times = conformance.SCENARIOS[name](conformance.Site(conformance.ours, redis_url))

    assert well == times


def test_page_shows_what_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The page in the docs was made by this command, for these scenarios."""
    page = tmp_path / "page.md"
    conformance.INTERFACES, before = {"ours": conformance.ours}, conformance.INTERFACES
    try:
        conformance.main(["--write", str(page), "--interface", "benchmarks.conformance:cookie"])
    finally:
        conformance.INTERFACES = before

    kept = (ROOT / "docs" / "conformance.md").read_text()
    assert "20 of 20" in capsys.readouterr().out
    assert "benchmarks.conformance:cookie" in page.read_text()
    for name in conformance.SCENARIOS:
        assert f"| {name} |" in kept
    assert sys.modules["benchmarks.conformance"] is conformance
