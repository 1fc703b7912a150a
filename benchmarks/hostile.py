"""What the published attacks cost and do: each planted in a record, signed, and met by a real request.

The process that meets them has limits of its own; ``tests/hostile`` asserts what this prints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.servers import NAMES, Server, binary_of

from .measure import progress, table

ROOT = Path(__file__).parent.parent


def met(url: str, folder: str) -> dict[str, dict[str, Any]]:
    """Return, for each layer, what happened to each attack."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.victim", url, f"hostile:{os.urandom(6).hex()}:"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print what all attacks of a layer did, and what the costliest of them took."""
    binary = next(found for found in map(binary_of, NAMES) if found)
    progress("hostile: planting all attacks")
    with (
        tempfile.TemporaryDirectory() as data,
        tempfile.TemporaryDirectory() as folder,
        Server(binary, Path(data)) as server,
    ):
        layers = met(server.url, folder)
    table(
        "Attacks, each in a request of its own",
        ["planted", "attacks", "ran code", "changed the process", "500", "worst ms", "worst MiB"],
        [
            [
                layer,
                str(len(attacks)),
                str(sum(bool(seen["hit"]) for seen in attacks.values())),
                str(sum(seen["changed"] for seen in attacks.values())),
                str(sum(seen["status"] == 500 or seen["wrote"] == 500 for seen in attacks.values())),
                f"{max(seen['seconds'] for seen in attacks.values()) * 1e3:.0f}",
                f"{max(seen['megabytes'] for seen in attacks.values()):.0f}",
            ]
            for layer, attacks in layers.items()
        ],
    )


if __name__ == "__main__":
    main()
