"""Every Python example of the README and the docs runs as it stands, one page after the other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(name="namespace")
def _namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The namespace of a module, so that classes in examples have one."""
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    return vars(module)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, namespace: dict[str, Any]) -> None:
    """The examples of a page, in one namespace, as a reader would paste them."""
    for example in EXAMPLE.findall(page.read_text()):
        exec(compile(example, str(page), "exec"), namespace)  # noqa: S102 - our own pages


def test_quick_start_serves_requests(namespace: dict[str, Any], redis_url: str, prefix: str) -> None:
    """What the README's quick start builds is a working application, and refuses as the README says."""
    readme = ROOT / "README.md"
    for example in EXAMPLE.findall(readme.read_text()):
        exec(compile(example, str(readme), "exec"), namespace)  # noqa: S102 - our own pages
    app = namespace["app"]
    app.config.update(PICKLESESSION_URL=redis_url, PICKLESESSION_KEY_PREFIX=prefix)
    # The extension has read the configuration of the example.
    del app.extensions["picklesession"]
    client = app.test_client()

    client.post("/buy")
    client.post("/buy")

    assert client.get("/cart").text == "19.80"
    app.extensions["picklesession"].store.close()


def test_refusal_reads_as_the_readme_says(namespace: dict[str, Any]) -> None:
    """The error that the README shows is the one that is raised."""
    from flask_picklesession import PickleSerializer, TypeRefusedError

    exec("class Cart: pass", namespace)  # noqa: S102 - a class in the examples' module
    with pytest.raises(TypeRefusedError) as caught:
        PickleSerializer().dump_value(namespace["Cart"](), "session['cart']")

    assert str(caught.value) in (ROOT / "README.md").read_text()


def test_configuration_table_names_every_key() -> None:
    """The README's table and the code know the same keys."""
    from flask_picklesession.config import _KEYS

    table = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))

    assert table == set(_KEYS)
