"""The products, read from a data file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent / "data" / "products.csv"

#: Products on one page.
PAGE_SIZE = 24


@dataclass(frozen=True)
class Product:
    """One product."""

    number: int
    name: str
    category: str
    price: Decimal
    stock: int
    tags: frozenset[str]


@cache
def products() -> dict[int, Product]:
    """Return number -> product."""
    with DATA.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [
        Product(
            int(row["number"]),
            row["name"],
            row["category"],
            Decimal(row["price"]),
            int(row["stock"]),
            frozenset(row["tags"].split()),
        )
        for row in rows
    ]
    return {product.number: product for product in found}


def categories() -> list[str]:
    """Return the categories, in the file's order."""
    return list(dict.fromkeys(product.category for product in products().values()))


def search(words: str, category: str) -> list[Product]:
    """Return the products whose name and tags hold all words.

    :param words: what the visitor typed; may be empty.
    :param category: one of :func:`categories`, or empty for all.
    """
    wanted = words.lower().split()
    return [
        product
        for product in products().values()
        if (not category or product.category == category)
        and all(word in product.name.lower() or word in product.tags for word in wanted)
    ]
