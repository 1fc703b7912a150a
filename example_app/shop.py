"""Catalogue and cart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from . import catalogue
from .models import Cart, Parcel, Wrap

bp = Blueprint("shop", __name__)


@bp.get("/")
def index() -> str:
    """Show the catalogue. Does not use the session: it is there while the store is away."""
    words, category = request.args.get("q", ""), request.args.get("category", "")
    page = max(request.args.get("page", 1, type=int), 1)
    found = catalogue.search(words, category)
    start = (page - 1) * catalogue.PAGE_SIZE
    return render_template(
        "index.html",
        products=found[start : start + catalogue.PAGE_SIZE],
        total=len(found),
        page=page,
        pages=-(-len(found) // catalogue.PAGE_SIZE),
        words=words,
        category=category,
        categories=catalogue.categories(),
    )


@bp.get("/products/<int:number>")
def product(number: int) -> str:
    """Show one product."""
    found = catalogue.products().get(number)
    if found is None:
        abort(404)
    return render_template("product.html", product=found)


@bp.get("/cart")
def cart() -> str:
    """Show the cart."""
    return render_template("cart.html", cart=session.get("cart") or Cart(), wraps=list(Wrap))


@bp.post("/cart")
def add() -> Response:
    """Put a product into the cart. A nested change: nothing else is needed for it to be saved."""
    found = catalogue.products().get(request.form.get("number", 0, type=int))
    if found is None or not found.stock:
        abort(404)
    parcel = Parcel("standard parcel", Decimal("4.90"), datetime.now(UTC) + timedelta(days=2))
    session.setdefault("cart", Cart()).add(found.number, found.name, found.price, set(found.tags), parcel)
    flash(Markup("<strong>{}</strong> is in your cart.").format(found.name))
    return redirect(url_for(".cart"))


@bp.post("/cart/lines/<int:number>")
def change(number: int) -> Response:
    """Change quantity and wrapping of a line."""
    quantity = request.form.get("quantity", 1, type=int)
    wrap = request.form.get("wrap", "")
    if "cart" not in session or wrap not in Wrap.__members__ or not 0 <= quantity <= 99:
        abort(400)
    session["cart"].change(number, quantity, Wrap[wrap])
    flash("Your cart was changed.")
    return redirect(url_for(".cart"))
