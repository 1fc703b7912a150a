"""Measure alternatives side by side: in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]

#: How often each alternative takes its turn. The best turn counts: whatever disturbs only adds.
TURNS = 25


def microseconds(alternatives: Mapping[str, Run], *, calls: int, turns: int = TURNS) -> dict[str, float]:
    """Return the time of one call of each alternative, in microseconds.

    :param calls: calls in one turn.
    :param turns: turns of each.
    """
    best = dict.fromkeys(alternatives, float("inf"))
    gc.collect()
    gc.disable()
    try:
        for turn in range(turns):
            progress(f"{', '.join(alternatives)}: turn {turn + 1} of {turns}")
            for name, run in alternatives.items():
                started = time.perf_counter()
                for _call in range(calls):
                    run()
                best[name] = min(best[name], (time.perf_counter() - started) / calls)
    finally:
        gc.enable()
    return {name: seconds * 1e6 for name, seconds in best.items()}


def progress(text: str) -> None:
    """Show on the screen what is being done, on one line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:100]}")
        sys.stderr.flush()


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    progress("")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print(f"\n{title}\n")
    for row in [header, ["-" * width for width in widths], *rows]:
        print(
            "  ".join(
                cell.ljust(width) if not index else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
