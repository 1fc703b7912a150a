"""What cycles cost: measured on the graph of a value's containers and records, before anything is built.

The verifier gives each value its size when it is closed. A value that refers to a container around it has none yet:
what a walk meets depends on where it begins. A walk, as of ``repr``, stops where it comes to something that it is
within already, or goes on to what does (:mod:`.guards`). So it meets each path through a cycle once; there can be as
many as in a pile of shared tuples ("billion laughs"), and one of them can be longer than any nesting. Both are bounded
here, for walks that begin at any part of the value, not only at its root: an application shows parts.

Where few nodes refer to one another all paths are counted. Where there are many (a tree of thousands that know their
parents) they are bounded from above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .entries import LimitError
from .graph import Graph
from .guards import Guarded
from .limits import DEEPEST, DEFAULT_LIMITS, Limits

#: A walk that begins within a cycle goes up and down again: it may go as deep as this many times the deepest nesting.
#: Freeing a chain of a thousand crashes an interpreter whose threads have stacks of 128 KiB (CPython 3.13).
DEEPER_IN_CYCLES = 4

#: References that are looked at for three bytes of a value, and beside that for any value, where
#: :data:`.limits.Limits.max_expanded` is the default: by as much more as that is raised. Each takes a quarter of a
#: microsecond. Trees whose nodes know their parents want one for three bytes; boards of a few fields want many.
STEPS_PER_THREE_BYTES, SPARE_STEPS = 2, 500

#: References that are looked at where a value will be built by the guarded unpickler: that takes its time, too. Trees
#: of as many records as may be have fewer.
MOST_STEPS_GUARDED = 60_000

#: Tuples and frozensets that stand between two records of a circle which a hash may go through.
MOST_TUPLES = 4

#: Items that a circle which a hash may go through holds, with all that it leads to: met a thousand times.
MOST_IN_A_CIRCLE = 100

#: Places of a walk, and what it is within there, that are looked at to count the paths through the cycles of a value:
#: each takes half a microsecond and a hundred bytes.
MOST_PATHS = 10_000

#: Nodes of a cycle all paths through which are counted: of more there are too many.
MOST_COUNTED = 64

_NEW, _OPEN, _CLOSED = range(3)

#: Open node -> how many references to it a walk meets, and how deep the deepest stands.
References = dict[int, tuple[int, int]]


def check_cycles(
    data: bytes, restorers: Mapping[bytes, int], limits: Limits, most_hashed: int, *, is_guarded: bool
) -> bool:
    """Refuse a value through whose cycles a walk would go on for too long, or too deep, or hashing would.

    :param data: verified bytes.
    :param restorers: as the verifier was given them.
    :param limits: the bounds.
    :param most_hashed: items that hashing all keys may meet.
    :param is_guarded: whether the value will be built by the guarded unpickler, which takes its time, too.
    :return: whether it must be: also where a key may be hashed before it is whole.
    :raises LimitError: with the limit's name.
    """
    graph = Graph(data, restorers)
    is_guarded = is_guarded or bool(graph.keys)
    raised = max(1, limits.max_expanded // DEFAULT_LIMITS.max_expanded)
    steps = raised * (SPARE_STEPS + len(data) * STEPS_PER_THREE_BYTES // 3)
    if is_guarded:
        steps = min(steps, raised * MOST_STEPS_GUARDED)
    guarded = Guarded(graph, steps, limits.max_objects_in_cycles(is_guarded=is_guarded))
    # All of it, also what was thrown away: that is hashed, and freed.
    _Measure(guarded.items, guarded.parts, limits, guarded.steps).run(range(len(guarded.items)))
    if not graph.keys:
        return is_guarded
    hashed = _Measure(
        [items if goes_on else 1 for items, goes_on in zip(graph.items, graph.is_hashed, strict=True)],
        [parts if goes_on else [] for parts, goes_on in zip(graph.parts, graph.is_hashed, strict=True)],
        limits,
        # The graph is gone through once more.
        steps // 2,
    )
    hashed.run(graph.keys)
    hashed.check_calls(graph.keys, graph.is_record)
    if sum(map(hashed.sizes.__getitem__, graph.keys)) > most_hashed:
        raise LimitError("max_odd_keys")
    return is_guarded


class _Measure:
    """Finds what a walk from each node meets at the most, and how deep it goes.

    Goes through the graph once, depth first. A node that is gone through is closed; it has met what its parts did, and
    one item for each reference to a node that is still open, around it. Where it is met again, or where a walk begins
    at it, these references go on to what is closed by then; and stop where that leads to this node again.

    :param items: of each node.
    :param parts: of each node.
    :param steps: how many references may be looked at.
    """

    def __init__(self, items: list[int], parts: list[list[int]], limits: Limits, steps: int) -> None:
        self._items = items
        self._parts = parts
        self._most = limits.max_expanded
        self._most_copied = limits.max_copied
        self._deepest = DEEPER_IN_CYCLES * limits.max_depth
        self._steps = steps
        self._paths = MOST_PATHS * max(1, limits.max_expanded // DEFAULT_LIMITS.max_expanded)
        self._state = bytearray(len(items))
        self.sizes = list(items)
        self._depths = [1] * len(items)
        # To what is open, of those nodes that lead to it.
        self._references: dict[int, References] = {}
        # What it was when a node was closed that has references: what those around it got. The last closed stands last.
        self._own: dict[int, tuple[int, References]] = {}

    def run(self, roots: Iterable[int]) -> None:
        """Measure these nodes and all that they lead to.

        :raises LimitError: if one exceeds a limit.
        """
        try:
            for root in roots:
                if self._state[root] == _NEW:
                    self._go_through(root)
            self._finish()
        except LimitError as error:
            # Of a few nodes that all refer to each other there are fewer paths than that.
            try:
                self._count(roots)
            except LimitError:
                raise error from None

    def check_calls(self, roots: Iterable[int], is_record: list[bool]) -> None:
        """Refuse a circle that a hash goes round for too long, or too deep.

        Python ends the hash of what holds itself at a thousand calls: each of these meets all that the circle holds.
        That of a tuple is none: two hundred of them for each call crash an interpreter with a stack of four megabytes.
        """
        if not self._own and not any(node in parts for node, parts in enumerate(self._parts)):
            return
        for component in self._components(roots):
            inside = set(component)
            if len(component) == 1 and component[0] not in self._parts[component[0]]:
                continue
            if sum(self._items[node] + self._outer(node, inside) for node in component) > MOST_IN_A_CIRCLE:
                raise LimitError("max_odd_keys")
            chain = {node for node in component if not is_record[node]} if len(component) > 1 else set()
            for _tuple in range(MOST_TUPLES):
                chain = {node for node in chain if not chain.isdisjoint(self._parts[node])}
            if chain:
                raise LimitError("max_depth")

    def _outer(self, node: int, inside: set[int]) -> int:
        """Return what a walk meets beyond a circle, from one of its nodes on."""
        return sum(self.sizes[part] for part in self._parts[node] if part not in inside)

    def _check(self, size: int, depth: int) -> None:
        if size > self._most or size * depth > self._most_copied:
            raise LimitError("max_expanded")
        if depth > self._deepest:
            raise LimitError("max_depth")

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise LimitError("max_expanded")

    def _go_through(self, root: int) -> None:
        state, sizes, references = self._state, self.sizes, self._references
        state[root] = _OPEN
        path, left = [root], [iter(self._parts[root])]
        while path:
            node = path[-1]
            for part in left[-1]:
                if state[part] == _NEW:
                    state[part] = _OPEN
                    path.append(part)
                    left.append(iter(self._parts[part]))
                    break
                if state[part] == _OPEN:
                    sizes[node] += 1
                    _note(references.setdefault(node, {}), part, 1, 1)
                else:
                    if part in references:
                        self._go_on(part, 0)
                    self._add(node, part)
            else:
                path.pop()
                left.pop()
                self._close(node)
                if path:
                    self._add(path[-1], node)

    def _close(self, node: int) -> None:
        self._state[node] = _CLOSED
        self._spend(len(self._parts[node]) + 1)
        self._check(self.sizes[node], self._depths[node])
        references = self._references.get(node)
        if references is not None:
            # Those to itself lead nowhere.
            references.pop(node, None)
            if references:
                self._own[node] = self.sizes[node], references
            else:
                del self._references[node]

    def _add(self, whole: int, part: int) -> None:
        self.sizes[whole] += self.sizes[part]
        if self._depths[part] >= self._depths[whole]:
            self._depths[whole] = self._depths[part] + 1
        references = self._references.get(part)
        if references:
            self._spend(len(references))
            own = self._references.setdefault(whole, {})
            for target, (count, depth) in references.items():
                _note(own, target, count, depth + 1)

    def _go_on(self, node: int, hops: int) -> None:
        """Let the references of a closed node go on to what was closed since."""
        own_size, own_references = self._own[node]
        # Those that it was closed with are still asked for.
        references = self._references[node] = dict(self._references[node])
        if hops > DEEPEST:
            raise LimitError("max_depth")
        for target in [target for target in references if self._state[target] == _CLOSED]:
            count, at = references.pop(target)
            further = self._references.get(target, {})
            if further:
                self._go_on(target, hops + 1)
                further = self._references.get(target, {})
            self._spend(len(further) + 1)
            self.sizes[node] += count * (self.sizes[target] - own_size)
            self._depths[node] = max(self._depths[node], at + self._depths[target])
            for beyond, (times, depth) in further.items():
                less = own_references.get(beyond, (0, 0))[0]
                _note(references, beyond, count * (times - less), at + depth)
            self._check(self.sizes[node], self._depths[node])
        if not references:
            del self._references[node]

    def _finish(self) -> None:
        """Let all references go on: everything is closed. What they lead to was closed later."""
        for node, (own_size, references) in reversed(self._own.items()):
            size, depth = own_size, self._depths[node]
            self._spend(len(references))
            for target, (count, at) in references.items():
                size += count * (self.sizes[target] - own_size)
                depth = max(depth, at + self._depths[target])
            self._check(size, depth)
            self.sizes[node], self._depths[node] = size, depth

    # -- few paths: all are walked

    def _count(self, roots: Iterable[int]) -> None:
        """Measure the nodes of each cycle by all paths through it, and all others by what they hold."""
        self._steps = min(self._steps, self._paths)
        self.sizes, self._depths = list(self._items), [1] * len(self._items)
        for component in self._components(roots):
            inside = {node: place for place, node in enumerate(component)}
            for node in component:
                outer = [part for part in self._parts[node] if part not in inside]
                self.sizes[node] += sum(map(self.sizes.__getitem__, outer))
                self._depths[node] += max(map(self._depths.__getitem__, outer), default=0)
                self._check(self.sizes[node], self._depths[node])
            if len(component) > 1 or component[0] in self._parts[component[0]]:
                self._count_cycle(component, inside)

    def _count_cycle(self, component: list[int], inside: dict[int, int]) -> None:
        """Measure the nodes of one cycle.

        :param inside: node -> its place in the component.
        """
        if len(component) > MOST_COUNTED:
            raise LimitError("max_expanded")
        items = [self.sizes[node] for node in component]
        parts = [[inside[part] for part in self._parts[node] if part in inside] for node in component]
        # What a walk meets from a node on depends on what it is within, and not on the way there: the places of that
        # as bits, and the node's -> items.
        met: dict[tuple[int, int], int] = {}
        most = len(component) * self._steps // sum(map(len, parts))

        def walk(place: int, within: int) -> int:
            size, here = items[place], within | 1 << place
            for part in parts[place]:
                if here >> part & 1:
                    size += 1
                else:
                    size += met.get((part, here)) or walk(part, here)  # noqa: F821 - deleted when all are met
            met[place, within] = size
            if len(met) > most:
                raise LimitError("max_expanded")
            return size

        try:
            found = [walk(place, 0) for place in range(len(component))]
        finally:
            # It refers to itself: what was met would wait for the garbage collector.
            del walk
        self._spend(len(met) * sum(map(len, parts)) // len(component))
        # No deeper than through all of them.
        depth = len(component) + max(map(self._depths.__getitem__, component))
        for node, size in zip(component, found, strict=True):
            self._check(size, depth)
            self.sizes[node], self._depths[node] = size, depth

    def _components(self, roots: Iterable[int]) -> Iterator[list[int]]:
        """Yield the strongly connected components, those that others lead to first (Tarjan 1972)."""
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        waiting: list[int] = []
        is_waiting: set[int] = set()
        path: list[tuple[int, Iterator[int]]] = []

        def enter(node: int) -> None:
            order[node] = low[node] = len(order)
            waiting.append(node)
            is_waiting.add(node)
            path.append((node, iter(self._parts[node])))
            self._spend(len(self._parts[node]))

        for root in roots:
            if root not in order:
                enter(root)
            while path:
                node, parts = path[-1]
                for part in parts:
                    if part not in order:
                        enter(part)
                        break
                    if part in is_waiting and order[part] < low[node]:
                        low[node] = order[part]
                else:
                    path.pop()
                    if path:
                        holder = path[-1][0]
                        low[holder] = min(low[holder], low[node])
                    if low[node] == order[node]:
                        component = [waiting.pop()]
                        while component[-1] != node:
                            component.append(waiting.pop())
                        is_waiting.difference_update(component)
                        yield component


def _note(references: References, target: int, count: int, depth: int) -> None:
    known = references.get(target)
    references[target] = (count, depth) if known is None else (known[0] + count, max(known[1], depth))
