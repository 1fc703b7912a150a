"""Run the tests on all cores with branch coverage, and end with one line of counts: ``make test`` calls this."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Return the exit status: 0 if all tests passed and all branches were covered."""
    report = ROOT / ".pytest_cache" / "report.xml"
    # A test runs where there is nothing to do: some take seconds, most milliseconds.
    cores = ["--numprocesses=auto", "--dist=worksteal"]
    pytest = ["-m", "pytest", *cores, "--cov", f"--junit-xml={report}", *sys.argv[1:]]
    status = subprocess.run([sys.executable, *pytest], cwd=ROOT, check=False).returncode
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - pytest wrote it
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return status


if __name__ == "__main__":
    sys.exit(main())
