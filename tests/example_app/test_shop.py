"""The shop, through Flask's test client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import catalogue, create_app
from example_app.devices import device
from example_app.models import Cart, Parcel, allow
from flask_picklesession import PickleSerializer

from .. import support


@pytest.fixture(name="app")
def _app(redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("SHOP_INSTANCE", str(tmp_path))
    monkeypatch.setenv("PICKLESESSION_URL", redis_url)
    monkeypatch.setenv("FLASK_PICKLESESSION_KEY_PREFIX", prefix)
    app = create_app()
    yield app
    support.close(app)


@pytest.fixture(name="client")
def _client(app: Flask) -> FlaskClient:
    return app.test_client()


def buy(client: FlaskClient, *numbers: int) -> None:
    for number in numbers:
        assert client.post("/cart", data={"number": number}).status_code == 302


def test_catalogue_is_a_few_hundred_products() -> None:
    """The data file holds products that can be told apart, at believable prices."""
    products = catalogue.products().values()

    assert len(products) > 200
    assert len({product.name for product in products}) == len(products)
    assert all(Decimal(1) < product.price < Decimal(200) for product in products)


def test_catalogue_does_not_use_the_session(client: FlaskClient) -> None:
    """It can be cached, and is there while the store is away."""
    for path in ("/", "/?q=steel&category=Kitchen", "/?page=2", "/products/101", "/nowhere"):
        assert "Vary" not in client.get(path).headers


def test_search(client: FlaskClient) -> None:
    """Words are found in names and tags."""
    assert "Moka pot" in client.get("/?q=steel+brewing").text
    assert "Nothing was found" in client.get("/?q=submarine").text


def test_cart_is_a_graph_of_objects(client: FlaskClient) -> None:
    """Two lines share a parcel and know their cart, in the next request as in this one."""
    buy(client, 101, 104, 104)

    with client.session_transaction() as found:
        cart = found["cart"]
        assert [line.quantity for line in cart.lines] == [1, 2]
        assert cart.lines[0].parcel is cart.lines[1].parcel
        assert all(line.cart is cart for line in cart.lines)
        assert isinstance(cart.lines[0].tags, set)
        assert cart.total == Decimal("38.40") + 2 * catalogue.products()[104].price + Decimal("4.90")


def test_line_can_be_changed_and_removed(client: FlaskClient) -> None:
    """Quantity and wrapping change in place; zero removes the line."""
    buy(client, 101, 104)
    client.get("/cart")
    client.post("/cart/lines/101", data={"quantity": 3, "wrap": "BOX"})
    client.post("/cart/lines/104", data={"quantity": 0, "wrap": "NONE"})

    page = client.get("/cart").text
    assert "3 × 38.40 €" in page
    assert "wrapped in a gift box" in page
    assert catalogue.products()[104].name not in page


@pytest.mark.parametrize("data", [{"quantity": 1, "wrap": "ROPE"}, {"quantity": -1, "wrap": "NONE"}])
def test_odd_change_is_refused(client: FlaskClient, data: dict[str, object]) -> None:
    """A form that the page did not offer is a 400."""
    buy(client, 101)

    assert client.post("/cart/lines/101", data=data).status_code == 400


def test_sold_out_and_unknown_products(client: FlaskClient) -> None:
    """What is not there cannot be bought."""
    sold_out = next(product.number for product in catalogue.products().values() if not product.stock)

    assert client.post("/cart", data={"number": sold_out}).status_code == 404
    assert client.post("/cart", data={"number": 5}).status_code == 404
    assert client.get("/products/5").status_code == 404


def test_sign_in_replaces_the_id_and_keeps_the_cart(client: FlaskClient) -> None:
    """The cookie changes at sign-in and sign-out; the cart stays."""
    buy(client, 101)
    anonymous = client.get_cookie("session")
    assert client.post("/sign-in", data={"name": "ada", "password": "wrong"}).status_code == 401
    client.post("/sign-in", data={"name": "ada", "password": "lovelace"})
    signed_in = client.get_cookie("session")
    assert "You are ada" in client.get("/sign-in").text
    assert "Lagerhaus Espresso beans" in client.get("/cart").text

    client.post("/sign-out")

    assert anonymous != signed_in != client.get_cookie("session")
    assert "Sign in" in client.get("/sign-in").text


def test_session_page_shows_types_and_sizes(client: FlaskClient) -> None:
    """Handle, times, keys with types and sizes; no values and no id."""
    buy(client, 101)
    client.get("/cart")
    page = client.get("/session/").text
    cookie = client.get_cookie("session")

    assert re.search(r"example_app\.models\.Cart</td><td>\d{3,4}</td>", page)
    assert cookie is not None
    assert cookie.value[:43] not in page
    assert re.search(r'class="handle">[\w-]{43}<', page)


def test_lock_is_refused_with_path_and_fix(client: FlaskClient) -> None:
    """The page shows the error as its developer would see it."""
    page = client.post("/session/lock").text

    assert "session[&#39;checkout&#39;][&#39;steps&#39;][1]" in page
    assert "_thread:lock" in page


def test_hostile_record_is_a_fresh_session_and_a_log_line(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack that is signed by the right key runs nothing."""
    monkeypatch.chdir(tmp_path)
    assert "no stored session to attack" in client.post("/session/attack", follow_redirects=True).text
    buy(client, 101)

    page = client.post("/session/attack", follow_redirects=True).text

    assert "There is none yet" in page
    assert "session rejected: payload" in page
    assert not (tmp_path / "hacked").exists()


def test_session_can_be_ended(client: FlaskClient) -> None:
    """Nothing is left in the browser."""
    buy(client, 101)
    client.post("/session/end")

    assert client.get_cookie("session") is None


def test_forms_of_other_sites_are_refused(client: FlaskClient) -> None:
    """What a browser says of a form's origin is believed."""
    assert client.post("/cart", data={"number": 101}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/cart", data={"number": 101}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/cart", data={"number": 101}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 302


def test_pages_run_no_script(client: FlaskClient) -> None:
    """Neither inline nor otherwise; the policy says so."""
    buy(client, 101)
    for path in ("/", "/products/101", "/cart", "/sign-in", "/session/"):
        response = client.get(path)
        assert "<script" not in response.text
        assert " style=" not in response.text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_secret_key_is_made_once(app: Flask, tmp_path: Path) -> None:
    """It stands in the instance folder, for nobody else to read, and is the same at the next start."""
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0
    again = create_app()

    assert again.secret_key == app.secret_key
    support.close(again)


def test_models_need_no_application() -> None:
    """The allow-list stands beside the classes."""
    cart = Cart()
    cart.add(1, "x", Decimal(1), set(), Parcel("p", Decimal(0), datetime.now(UTC)))

    assert PickleSerializer(allow).loads(PickleSerializer(allow).dumps({"cart": cart}))["cart"].lines[0].name == "x"


class TestDevices:
    @staticmethod
    def sign_in(client: FlaskClient, name: str, password: str) -> None:
        assert client.post("/sign-in", data={"name": name, "password": password}).status_code == 302

    def test_only_for_users(self, client: FlaskClient) -> None:
        """Who is not signed in is asked to."""
        assert "/sign-in" in client.get("/devices/").headers["Location"]

    def test_handle_of_somebody_else_ends_nothing(self, app: Flask) -> None:
        """A form with another user's handle."""
        ada, grace = app.test_client(), app.test_client()
        self.sign_in(ada, "ada", "lovelace")
        self.sign_in(grace, "grace", "hopper")
        found = re.search(r'class="handle">([^<]+)<', grace.get("/session/").text)
        assert found is not None

        page = ada.post("/devices/sign-out", data={"handle": found[1]}, follow_redirects=True)

        assert "signed out already" in page.text
        assert grace.get("/devices/").status_code == 200

    @pytest.mark.parametrize(
        ("agent", "name"),
        [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36", "Chromium on Linux"),
            ("curl/8.0", "curl"),
            ("<script>", "A browser"),
        ],
    )
    def test_names_of_browsers(self, agent: str, name: str) -> None:
        """What people call them; nothing of what the browser sent."""
        assert device(agent) == name
