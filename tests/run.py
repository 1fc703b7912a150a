"""Run the tests with branch coverage, and end with one line of counts: ``make test`` calls this."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
COVERAGE = [sys.executable, "-m", "coverage"]


def main() -> int:
    """Return the exit status: 0 if all tests passed and all branches were covered."""
    report = ROOT / ".pytest_cache" / "report.xml"
    pytest = ["-m", "pytest", f"--junit-xml={report}", *sys.argv[1:]]
    subprocess.run([*COVERAGE, "erase"], cwd=ROOT, check=True)
    tests = subprocess.run([*COVERAGE, "run", *pytest], cwd=ROOT, check=False).returncode
    subprocess.run([*COVERAGE, "combine", "--quiet"], cwd=ROOT, check=True)
    covered = subprocess.run([*COVERAGE, "report"], cwd=ROOT, check=False).returncode
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - pytest wrote it
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return tests or covered


if __name__ == "__main__":
    sys.exit(main())
