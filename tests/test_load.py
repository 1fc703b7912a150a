"""The load of ``benchmarks/load.py`` for a few seconds: two gunicorn workers of eight threads, 64 clients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_nothing_is_lost_under_load() -> None:
    """Acknowledged writes are there, counters are exact, revoked sessions stay out."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "--seconds", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
