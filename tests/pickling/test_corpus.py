"""Hostile samples of pickle scanners' test data and CTF tasks, through every layer that reads bytes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CORPUS = Path(os.environ.get("PICKLESESSION_TEST_CORPUS") or ROOT.parent / "shared" / "corpus")

PROGRAM = """
import json, resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from flask_picklesession import PayloadError, PickleSerializer
from tests.pickling.models import make_allow

serializer = PickleSerializer(make_allow(), verdicts_kept=0)
accepted = []
count = 0
before = set(sys.modules)
for sample in sorted(Path(sys.argv[1]).rglob("*")):
    if sample.is_file() and sample.suffix not in (".md", ".tsv"):
        count += 1
        data = sample.read_bytes()
        for read in (serializer.loads, serializer.load_value, serializer.load_container):
            try:
                accepted.append([sample.name, repr(read(data))])
            except PayloadError:
                pass
print(json.dumps({"count": count, "accepted": accepted, "imported": sorted(set(sys.modules) - before)}))
"""


def test_no_sample_gets_through(tmp_path: Path) -> None:
    """Each one is refused with the one documented error; nothing runs and nothing is imported."""
    if not CORPUS.is_dir():
        pytest.skip("the folder of hostile samples is not here")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(CORPUS)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)

    assert found["count"] > 100
    # Some samples are plain data, there to see that scanners do not cry wolf.
    for _name, value in found["accepted"]:
        ast.literal_eval(value)
    assert len(found["accepted"]) < 5
    assert [name for name in found["imported"] if not name.startswith("encodings")] == []
    assert list(tmp_path.iterdir()) == []
