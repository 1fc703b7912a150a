"""The wheel, built here and used as installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROGRAM = """
from flask import Flask, session
from flask_picklesession import PickleSession, __file__ as where
from decimal import Decimal

app = Flask("installed")
app.config.update(SECRET_KEY="x", PICKLESESSION_URL="{url}", PICKLESESSION_KEY_PREFIX="{prefix}")
PickleSession(app)

@app.get("/")
def index():
    session["total"] = session.get("total", Decimal(0)) + Decimal("0.5")
    return str(session["total"])

client = app.test_client()
client.get("/")
print(client.get("/").text, where)
"""


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], capture_output=True, check=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module, the marker for type checkers and the licence; no tests and no demo."""
    names = zipfile.ZipFile(wheel).namelist()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "flask_picklesession").rglob("*.py")}

    assert modules <= set(names)
    assert "flask_picklesession/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {
        "flask_picklesession",
        next(name for name in names if ".dist-info" in name).partition("/")[0],
    }


def test_sdist_holds_what_a_packager_needs(wheel: Path) -> None:
    """Tests, docs and the demo come with the source."""
    import tarfile

    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    assert {"CHANGES.md", "SECURITY.md", "tests/test_packaging.py", "example_app/__init__.py", "docs/types.md"} <= names


def test_wheel_works_as_installed(wheel: Path, tmp_path: Path, redis_url: str, prefix: str) -> None:
    """In an environment of its own, with its dependencies and nothing of this checkout."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True)
    program = PROGRAM.format(url=redis_url, prefix=prefix)

    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    total, where = done.stdout.split()
    assert total == "1.0"
    assert where.startswith(str(environment))
