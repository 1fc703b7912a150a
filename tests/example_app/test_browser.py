"""The shop in real browsers: Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium")
REQUIRED = "PICKLESESSION_TEST_CHROMIUM_REQUIRED"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Set to a folder to keep pictures of the pages.
SCREENSHOTS = os.environ.get("PICKLESESSION_TEST_SCREENSHOTS")


class Shop:
    """The shop as a process, on an embedded server in a folder."""

    def __init__(self, instance: Path, server: str) -> None:
        self._instance = instance
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _command(self) -> list[str]:
        if self._server == "flask":
            return ["-m", "flask", "--app", "example_app", "run", "--port", str(self.port)]
        return ["-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{self.port}", "example_app:create_app()"]

    def start(self) -> None:
        environment = {**os.environ, "SHOP_INSTANCE": str(self._instance), "FLASK_PICKLESESSION_TIMEOUT": "8"}
        environment.pop("PICKLESESSION_URL", None)
        self._process = subprocess.Popen(
            [sys.executable, *self._command],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.DEVNULL,
            # Tests that run in the background of a shell have it ignored, and hand that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()  # noqa: S310 - our own address
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
            self._process = None

    def server_pids(self) -> list[int]:
        """Return the processes of the embedded server."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"valkey-server" in command and str(self._instance).encode() in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(name="shop", params=["flask", "gunicorn"])
def _shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "instance", request.param)
    shop.start()
    yield shop
    shop.stop()
    deadline = time.monotonic() + 10
    while shop.server_pids():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_browser(browser: Browser, shop: Shop, **options: object) -> Page:
    """Return a page in a browser of its own: with no cookies."""
    context: BrowserContext = browser.new_context(base_url=shop.url, **options)  # type: ignore[arg-type]  # as given
    context.set_default_timeout(10_000)
    return context.new_page()


def buy(page: Page, number: int) -> None:
    page.goto(f"/products/{number}")
    page.get_by_role("button", name="Put into the cart").click()
    page.wait_for_url("**/cart")


def cookie(page: Page) -> str | None:
    return next((item["value"] for item in page.context.cookies() if item["name"] == "session"), None)


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def test_a_visit(browser: Browser, shop: Shop, tmp_path: Path) -> None:
    """Two browsers, reload, restart of the shop and its server, sign in and out, the refusals."""
    page, other = open_browser(browser, shop), open_browser(browser, shop)
    page.goto("/")
    picture(page, "catalogue")
    buy(page, 101)
    buy(page, 104)
    assert page.get_by_text("is in your cart").count() == 1
    picture(page, "cart")
    buy(other, 107)

    # Reload: the cart is there, the message is gone; the other browser has its own.
    page.reload()
    assert page.get_by_text("is in your cart").count() == 0
    assert page.locator("article.line").count() == 2
    assert other.locator("article.line").count() == 1

    # Restart of application and server.
    shop.stop()
    shop.start()
    page.goto("/cart")
    assert page.locator("article.line").count() == 2
    page.get_by_label("Quantity of Lagerhaus Espresso beans").fill("3")
    page.get_by_role("button", name="Change").first.click()
    assert page.get_by_text("3 × 38.40").count() == 1

    # Sign in: a new id, the same cart.
    before = cookie(page)
    page.goto("/sign-in")
    picture(page, "sign-in")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("lovelace")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/session/")
    assert cookie(page) not in (None, before)
    assert page.get_by_text("example_app.models.Cart").count() == 1
    picture(page, "session")

    # The refusals.
    page.get_by_role("button", name="Try to store a lock").click()
    assert page.get_by_text("session['checkout']['steps'][1]").count() > 0
    picture(page, "refused")
    page.goto("/session/")
    page.get_by_role("button", name="Plant a hostile record").click()
    page.wait_for_url("**/session/")
    assert page.get_by_text("There is none yet").count() == 1
    assert page.get_by_text("session rejected: payload").count() == 1
    picture(page, "attacked")
    assert not (ROOT / "hacked").exists()

    # The other browser never noticed.
    other.reload()
    assert other.locator("article.line").count() == 1
    for context in (page.context, other.context):
        context.close()


def test_the_store_away(browser: Browser, shop: Shop) -> None:
    """A friendly 503 that keeps the cookie; the catalogue stays open; then the session is back."""
    page = open_browser(browser, shop)
    buy(page, 101)
    before = cookie(page)
    for pid in shop.server_pids():
        os.kill(pid, signal.SIGSTOP)

    response = page.goto("/cart")
    assert response is not None
    assert response.status == 503
    assert page.get_by_text("You are still signed in").count() == 1
    picture(page, "unavailable")
    assert cookie(page) == before
    catalogue = page.goto("/")
    assert catalogue is not None
    assert catalogue.status == 200

    for pid in shop.server_pids():
        os.kill(pid, signal.SIGCONT)
    page.goto("/cart")
    assert page.locator("article.line").count() == 1
    page.context.close()


def test_on_a_phone_and_by_keyboard(browser: Browser, shop: Shop) -> None:
    """Nothing is wider than a phone; the first Tab leads to the content; Enter buys."""
    page = open_browser(browser, shop, viewport={"width": 360, "height": 740}, has_touch=True)
    buy(page, 101)
    for path in ("/", "/products/101", "/cart", "/sign-in", "/session/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        picture(page, "phone" + path.replace("/", "-"))

    page.goto("/products/104")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    for _press in range(6):
        page.keyboard.press("Tab")
        if page.locator(":focus").inner_text() == "Put into the cart":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/cart")
    assert page.locator("article.line").count() == 2
    page.context.close()


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("lovelace")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/session/")


def test_your_devices(browser: Browser, shop: Shop) -> None:
    """The same user in two browsers and a phone: listed, signed out one by one and everywhere else."""
    page, laptop = open_browser(browser, shop), open_browser(browser, shop)
    phone = open_browser(
        browser,
        shop,
        viewport={"width": 390, "height": 844},
        user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/604.1",
    )
    page.goto("/devices/")
    assert "/sign-in" in page.url
    buy(laptop, 101)
    for one in (laptop, phone, page):
        sign_in(one)

    page.get_by_role("link", name="Devices").click()
    assert page.locator(".device").count() == 3
    assert page.locator(".device mark").count() == 1
    assert "Safari on iPhone" in page.locator(".device").nth(1).inner_text()
    picture(page, "devices")
    phone.goto("/devices/")
    picture(phone, "devices-phone")

    page.locator(".device").nth(1).get_by_role("button", name="Sign out there").click()
    page.get_by_text("That device is signed out.").wait_for()
    phone.goto("/devices/")
    assert "/sign-in" in phone.url

    page.get_by_role("button", name="Sign out everywhere else").click()
    page.get_by_text("1 other device was signed out.").wait_for()
    assert page.locator(".device").count() == 1
    laptop.goto("/devices/")
    assert "/sign-in" in laptop.url
    page.reload()
    assert page.locator(".device").count() == 1
