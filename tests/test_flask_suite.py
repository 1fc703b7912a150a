"""Flask's own tests, from its sdist, with our interface as ``Flask.session_interface``."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

#: What our interface does otherwise on purpose: a permanent cookie is set again after a tenth of its lifetime, not in
#: every response.
LOST_ON_PURPOSE = {"test_session_refresh_vary", "test_session_cookie_setting"}

ROOT = Path(__file__).parent.parent


@pytest.fixture(name="suite", scope="module")
def _suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flask")
    flask = f"flask=={version('flask')}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    downloaded = subprocess.run([*command, flask], capture_output=True, check=False)
    if downloaded.returncode:
        pytest.skip("Flask's sdist cannot be downloaded here")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def failures(suite: Path, url: str) -> tuple[set[str], int]:
    """Run the suite; return the tests that failed, and how many ran."""
    report = suite / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.flask_suite_plugin"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLASK_SUITE_URL": url}
    subprocess.run(
        [*command, f"--junit-xml={report}", "tests"], cwd=suite, env=environment, capture_output=True, check=False
    )
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it
    failed = {
        case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    return failed, len(cases)


def test_nothing_is_lost(suite: Path, redis_url: str) -> None:
    """Every test that passes with Flask's own interface passes with ours, but for what differs on purpose."""
    without, total = failures(suite, "")
    with_ours, total_with_ours = failures(suite, redis_url)

    assert total == total_with_ours > 400
    assert with_ours - without == LOST_ON_PURPOSE
