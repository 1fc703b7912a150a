"""Classes of an application, as its models module would have them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Basket:
    """A mutable record."""

    items: list[str] = field(default_factory=list)
