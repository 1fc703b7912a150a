"""Walks through what has no guard against recursion: a NamedTuple, a Counter, a pydantic model.

``repr`` stops where it comes to a list, dict, dataclass and the like that it is within. A NamedTuple's formats its
elements, a Counter's makes a dict of it, a model's shows its fields, wherever they stand: each is gone through again,
until what is in it comes to something that has a guard.

A copy of it for each guarded container or record that leads to it makes an ordinary graph of that, in which each node
stops a walk: what comes back to a copy came through that container, and has stopped there.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from .entries import LimitError
from .graph import Graph


class Guarded:
    """A graph whose walks are the same as those through another one, but in which each node has a guard.

    :param graph: what is not changed.
    :param steps: how many references may be looked at.
    :param most: nodes that there may be, with the copies: each costs as much as any other.
    :raises LimitError: if there are more, or if a walk never ends.
    """

    def __init__(self, graph: Graph, steps: int, most: int) -> None:
        #: As those of a graph, with those of the copies behind them.
        self.items, self.parts = list(graph.items), list(graph.parts)
        #: How many references may still be looked at.
        self.steps = steps
        self._most = most
        self._loose = {node for node, is_guarded in enumerate(graph.is_guarded) if not is_guarded and graph.parts[node]}
        if self._loose:
            self._drop_loops()
            self._refuse_endless()
            for node in range(len(graph.items)):
                if node not in self._loose and not self._loose.isdisjoint(self.parts[node]):
                    self._copy_for(node)

    def _spend(self, steps: int) -> None:
        # Each takes half the time of one that is measured.
        self.steps -= steps // 2
        if self.steps < 0:
            raise LimitError("max_expanded")

    def _drop_loops(self) -> None:
        """Let a model that is a field of itself be an item there: it is not gone through again."""
        for node in self._loose:
            self._spend(2 * len(self.parts[node]))
            others = [part for part in self.parts[node] if part != node]
            self.items[node] += len(self.parts[node]) - len(others)
            self.parts[node] = others

    def _refuse_endless(self) -> None:
        """Refuse a circle of nodes none of which has a guard."""
        try:
            TopologicalSorter({node: self._loose.intersection(self.parts[node]) for node in self._loose}).prepare()
        except CycleError:
            # Outside of the handler: what was raised quotes the circle.
            is_endless = True
        else:
            is_endless = False
        if is_endless:
            raise LimitError("max_depth")

    def _copy_for(self, guard: int) -> None:
        """Let a node lead to copies of its own of all that has no guard behind it."""
        copies: dict[int, int] = {}
        left = [guard]
        while left:
            node = left.pop()
            parts = self.parts[node]
            self._spend(len(parts) + 1)
            for part in parts:
                if part in self._loose and part not in copies:
                    if len(self.items) >= self._most:
                        raise LimitError("max_objects")
                    copies[part] = len(self.items)
                    self.items.append(self.items[part])
                    self.parts.append([])
                    left.append(part)
            self.parts[copies.get(node, node)] = [copies.get(part, part) for part in parts]
