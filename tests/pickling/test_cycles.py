"""Cycles: honest graphs are accepted; no walk through what is accepted goes on for ever, wherever it begins."""

from __future__ import annotations

import gc
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from itertools import pairwise
from types import FunctionType
from typing import Any

import pytest

from flask_picklesession import LimitExceededError, PayloadError, PickleSerializer
from flask_picklesession.pickling import Limits
from flask_picklesession.pickling.cycles import DEEPER_IN_CYCLES, _Measure
from flask_picklesession.pickling.entries import LimitError
from flask_picklesession.pickling.graph import Graph

from . import assembler as a
from .models import Hashed, Model, Money, Node, Point, Product, make_allow
from .walks import TooLong, containers_of, walk


def cold(**limits: int) -> PickleSerializer:
    """Return a serializer that has verified nothing yet."""
    return PickleSerializer(make_allow(), limits=Limits(**limits), verdicts_kept=0)


def tree(children: int, grandchildren: int) -> Node:
    """Return a tree in which all know their parents."""
    root = Node("root")
    for _child in range(children):
        child = Node("child", parent=root)
        child.children = [Node("grandchild", parent=child) for _ in range(grandchildren)]
        root.children.append(child)
    return root


def linked(count: int) -> list[Node]:
    """Return nodes that know the next and the one before."""
    nodes = [Node(str(number)) for number in range(count)]
    for before, after in pairwise(nodes):
        before.children.append(after)
        after.parent = before
    return nodes


def friends(count: int) -> list[Any]:
    """Return lists that each hold all of them."""
    lists: list[list[Any]] = [[] for _ in range(count)]
    for found in lists:
        found.extend(lists)
    return lists


def board(fields: int) -> list[Node]:
    """Return fields of a board, each with four neighbours."""
    nodes = [Node(str(number)) for number in range(fields)]
    for number, node in enumerate(nodes):
        node.children = [nodes[(number + step) % fields] for step in (-3, -1, 1, 3)]
    return nodes


def star(count: int) -> list[Node]:
    """Return nodes that all have an edge to the first one; both know it."""
    nodes = [Node(str(number)) for number in range(count)]
    for node in nodes[1:]:
        edge: Any = Point(nodes[0], node)  # type: ignore[arg-type]
        nodes[0].children.append(edge)
        node.children.append(edge)
    return nodes


def family(children: int, grandchildren: int) -> Any:
    """Return a tree of models in which all know their parents."""
    root: Any = Model.model_construct(a=None, b=[])
    for _child in range(children):
        child: Any = Model.model_construct(a=root, b=[])
        child.b += [Model.model_construct(a=child, b=[]) for _ in range(grandchildren)]
        root.b.append(child)
    return root


def in_batches() -> list[Any]:
    """Return a list of several batches, whose items refer to it."""
    found: list[Any] = []
    found += [[found, number] for number in range(2500)]
    return found


ACCEPTED: dict[str, Callable[[], Any]] = {
    "tree of a thousand": lambda: tree(1000, 0),
    "tree of three levels": lambda: tree(30, 30),
    "linked list": lambda: linked(60)[0],
    "linked list, all known": lambda: linked(60),
    "five friends": lambda: friends(5),
    "list of several batches": in_batches,
    "edges that know both ends": lambda: star(200)[0],
    "models that know their parents": lambda: family(1500, 0),
    "models of three levels": lambda: family(20, 20),
    "empty lists that are shared": lambda: [[[]] * 2] * 3,
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_honest_graphs_are_accepted(kind: str) -> None:
    """Trees that know their parents, linked lists, friends, boards."""
    stored = cold().dump_value(ACCEPTED[kind]())
    loaded = cold().load_value(stored)

    assert cold().dump_value(loaded) == stored


REFUSED: dict[str, Callable[[], Any]] = {
    "twenty friends": lambda: friends(20),
    "board of nine": lambda: board(9),
    "board of 42": lambda: board(42),
    "tree of thousands": lambda: tree(50, 55),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_tangled_graphs_are_refused(kind: str) -> None:
    """A walk through them takes as long as through a pile of shared tuples."""
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(REFUSED[kind]())

    assert caught.value.limit == "max_expanded"


def pairs(make: Callable[[Any, Any], Any], count: int) -> Any:
    """Return a tree of pairs, with lists for leaves, each of which holds the whole of it."""
    lists: list[list[Any]] = [[] for _ in range(count)]
    level: list[Any] = [*lists]
    while len(level) > 1:
        level = [make(left, right) for left, right in in_pairs(level)]
    for found in lists:
        found.append(level[0])
    return level[0]


def in_pairs(items: list[Any]) -> list[Any]:
    """Return each two that follow one another."""
    return list(zip(items[::2], items[1::2], strict=True))


def counted(count: int) -> Any:
    """Return a Counter of records that each hold it."""
    counter: Counter[Any] = Counter()
    for number in range(count):
        counter[Hashed(str(number))] = 1
    for key in counter:
        key.friends = counter
    return counter


UNGUARDED: dict[str, Callable[[int], Any]] = {
    "NamedTuple": lambda count: pairs(Point, count),
    "pydantic": lambda count: pairs(lambda left, right: Model.model_construct(a=left, b=right), count),
    "Counter": counted,
}


@pytest.mark.parametrize("kind", UNGUARDED)
def test_what_has_no_guard_against_recursion(kind: str) -> None:
    """Found in review: 328 bytes, each list of which stops only where a walk comes to itself, took a second to show."""
    few, many = (UNGUARDED[kind](count) for count in (2, 8))

    assert cold().load_value(cold().dump_value(few))
    with pytest.raises(TooLong):
        walk(many, 500_000)
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(many)

    assert caught.value.limit == "max_expanded"


@pytest.mark.parametrize("state", [a.NONE, a.NONE + a.TUPLE1])
def test_counter_that_is_filled_in_with_no_dict(state: bytes) -> None:
    """Refused where it is built, whatever its graph would be."""
    counter = a.name("collections:Counter") + a.EMPTY_TUPLE + a.REDUCE
    fill = a.get(2) + a.text("collections:Counter#state") + b"\x93\x94" + a.get(5)

    with pytest.raises(PayloadError, match="refused with ValueError"):
        cold().load_value(
            a.segment(a.LIST, a.MARK, a.LIST + a.get(0) + a.APPEND, counter, fill, state, a.APPLY, a.APPENDS)
        )


def test_copies_for_each_guard_are_bounded() -> None:
    """Thousands of lists that hold one large pile of NamedTuples: more references than are looked at."""
    pile: Any = []
    for _level in range(40):
        pile = Point(pile, 0)
    lists = [[pile] for _ in range(1000)]

    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value([lists, in_batches()])

    assert caught.value.limit == "max_expanded"


def test_models_that_are_endless() -> None:
    """Two models that are each other's fields end with a RecursionError; one that is its own field does not."""
    one: Any = Model.model_construct(a=None, b=[])
    other: Any = Model.model_construct(a=one, b=[])
    one.a = one
    assert "Recursion on Model" in repr(cold().load_value(cold().dump_value(one)))
    one.a = other

    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(one)

    assert caught.value.limit == "max_depth"


def test_limit_can_be_raised() -> None:
    """An application that keeps a large tree or a board may say so."""
    roomy = cold(max_expanded=2 * 10**7, max_objects=20_000)

    assert len(roomy.load_value(roomy.dump_value(tree(60, 60))).children) == 60
    assert len(roomy.load_value(roomy.dump_value(board(9)))) == 9


def of_each(lists: int) -> bytes:
    """Return lists opened side by side, each filled with two references to the one below it and thrown away."""
    fills = (b"(" + a.get(number) * 2 + b"e0" + a.get(lists) + b"0" for number in range(lists - 1, -1, -1))
    return a.segment(a.LIST * (lists + 1), *fills)


def test_values_thrown_away_side_by_side() -> None:
    """Found in review: 368 bytes, two to the 40 items. POP stands only where a value is read instead."""
    with pytest.raises(PayloadError):
        cold().load_value(of_each(40))
    with pytest.raises(PayloadError, match="POP where nothing is read instead"):
        cold().load_value(a.segment(a.LIST * 2, b"(", a.get(0) * 2, b"e0", a.NONE, b"a"))


def ancestors(depth: int, times: int, cls: Any = list) -> Any:
    """Return a nest of lists, each with references to all around it, and the innermost one."""
    around: list[Any] = [cls()]
    for _level in range(depth):
        inner = cls()
        for outer in around:
            inner.extend([outer] * times)
        around[-1].append(inner)
        around.append(inner)
    return around


def test_walk_that_begins_within() -> None:
    """From its root a nest whose lists refer to all around them is small. From within it goes up and down again."""
    nest = ancestors(20, 1)
    assert walk(nest[0], 1000)

    with pytest.raises(TooLong):
        walk(nest[-1], 500_000)
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(nest[0])

    assert caught.value.limit == "max_expanded"


def test_part_that_refers_to_the_whole_again_and_again() -> None:
    """The whole takes 70,000 items; one of its fields, shown by itself, takes the square of that."""
    cart = Node("cart", children=[])
    cart.children += [cart] * 30_000
    cart.parent = [None] * 40_000  # type: ignore[assignment]

    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(cart)

    assert caught.value.limit == "max_expanded"


def hashes(levels: int) -> Any:
    """Return a nest of records, each with a hash that looks at the one around it twice; the innermost one is a key."""
    outermost = around = Hashed("end")
    for _level in range(levels):
        inner = Hashed((around, around))  # type: ignore[arg-type]
        around.friends = [inner]  # type: ignore[assignment]
        around = inner
    return [outermost, {around: None}]


def test_hash_that_goes_up_a_nest() -> None:
    """Found in review: 681 bytes took 0.8 seconds to load, and each level doubled it."""
    assert cold().load_value(cold().dump_value(hashes(3)))

    written = cold().written(hashes(12))
    with pytest.raises(PayloadError, match="exceeds the limit"):
        cold().load_value(written)


def test_hash_that_goes_up_a_nest_and_is_thrown_away() -> None:
    """What is thrown away was hashed before that."""
    written = cold().written([("x",), hashes(12)])
    # Memo: the list, its text, its tuple, which is what is read instead.
    thrown_away = written.removesuffix(a.STOP) + a.POP + a.get(2) + a.STOP

    assert cold().load_value(cold().written([("x",), hashes(3)]).removesuffix(a.STOP) + a.POP + a.get(2) + a.STOP) == (
        "x",
    )
    with pytest.raises(PayloadError, match="exceeds the limit"):
        cold().load_value(thrown_away)


def test_hash_that_does_not_look_at_the_fields() -> None:
    """Records without a hash of their own are keys of one item each, whatever they hold."""
    allow = make_allow()
    allow(Place, fields=("near",))
    places = [Place() for _ in range(200)]
    for place in places:
        place.near = {places[0]}
    places[0].near = {places[-1]}
    serializer = PickleSerializer(allow)

    assert len(serializer.load_value(serializer.dump_value(places))) == 200


class Place:
    """Hashed by its identity."""

    def __init__(self) -> None:
        self.near: set[Place] = set()


@pytest.mark.parametrize(("cls", "turns"), [(list, 99), (deque, 60)])
def test_chain_through_what_is_still_open(cls: Any, turns: int) -> None:
    """Found in review: 6,600 levels where 200 are allowed. Freeing them crashed a thread with a small stack."""
    chain: Any = None
    zigzag: list[Any] = []
    for _turn in range(turns):
        # Each leads up to the last one's list, and from there down again.
        holder = cls()
        holder.append(cls([zigzag, chain]))
        chain = holder
        zigzag = [holder]
    written = cold().written(zigzag)

    with pytest.raises(PayloadError, match="exceeds the limit max_"):
        cold().load_value(written)


def test_circle_of_many_tuples_in_a_hash() -> None:
    """Found in review: a thousand calls, each behind 190 tuples, crash an interpreter with a stack of four MB."""

    def circle(tuples: int) -> bytes:
        record = a.name(f"{__package__}.models:Hashed") + a.EMPTY_TUPLE + a.REDUCE
        fill = (
            a.get(1) + a.text(f"{__package__}.models:Hashed#state".replace(".", "/")) + b"\x93" + a.MEMOIZE + a.get(4)
        )
        state = a.text("key") + a.TUPLE1 + a.get(4) + a.TUPLE1 * tuples + a.TUPLE2
        return a.segment(a.DICT, record, fill, state, a.APPLY, a.NONE, b"s")

    with pytest.raises(PayloadError, match="RecursionError"):
        cold().load_value(circle(3))
    with pytest.raises(PayloadError, match="max_depth"):
        cold().load_value(circle(5))


def test_circle_of_named_tuples_in_a_hash() -> None:
    """Found in review: their hash is a tuple's, and no call."""
    hashed = Hashed("x")
    hashed.key = hashed  # type: ignore[assignment]
    for _point in range(9):
        hashed.key = Point(hashed.key)  # type: ignore[arg-type, assignment]
    # The list becomes a set, which hashes it.
    body = cold().written([hashed]).removeprefix(a.PROTO + a.LIST).removesuffix(b"a.")
    segment = a.segment(a.SET, b"(", body, b"\x90")

    with pytest.raises(PayloadError, match="max_depth"):
        cold().load_value(segment)


def test_what_is_thrown_away_is_measured() -> None:
    """Found in review: a chain of thousands, held together by what is thrown away, crashed where it was freed."""
    tangle = cold().written([("x",), friends(12)])
    # Memo: the list, its text, its tuple, which is what is read instead.
    thrown_away = tangle.removesuffix(a.STOP) + a.POP + a.get(2) + a.STOP

    with pytest.raises(PayloadError, match="max_expanded"):
        cold().load_value(thrown_away)


def test_deques_within_deques() -> None:
    """Found in review: to compare two takes twice as long for each level."""
    value: Any = 0
    for _level in range(10):
        value = deque([value])

    assert cold().load_value(cold().dump_value(value)) == value
    for _level in range(20):
        value = deque([value])
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(value)
    with pytest.raises(PayloadError):
        cold().load_value(cold().written([value, deque([value])]))

    assert caught.value.limit == "max_expanded"


def shelves(make: Callable[[Any], Any], levels: int) -> Any:
    """Return mappings whose keys hold mappings, with room for what hashing them meets."""
    value: Any = 0
    for _level in range(levels):
        value = make({Product(1, value): 1})
    return [value, "x" * 60_000]


@pytest.mark.parametrize("make", [OrderedDict, Counter])
def test_mappings_that_compare_keys_twice(make: Callable[[Any], Any]) -> None:
    """Found in review: to compare two takes twice as long for each level, and that was not counted."""
    assert cold().load_value(cold().dump_value(shelves(make, 6))) == shelves(make, 6)
    with pytest.raises(LimitExceededError):
        cold().dump_value(shelves(make, 18))


def test_graph_counts_what_is_compared_twice() -> None:
    """As the verifier does: a value that refers to what is still open has its sizes from the graph."""

    def size(value: Any) -> int:
        graph = Graph(cold().written(value), cold()._entries)
        measure = _Measure(graph.items, graph.parts, Limits(), 10**6)
        measure.run([graph.root])
        return measure.sizes[graph.root]

    key = Product(1, [])
    assert size([{"k": (1, 2)}]) == 6
    assert size([{(1, 2): "k"}]) == 6 + 3
    assert size([{key: 0}]) == 3 + 2 * size(key)
    assert size(deque([1, 2])) == size(deque()) + 2 * 2


def test_fewer_references_where_keys_are_looked_at() -> None:
    """What is built by the slower unpickler may take less time to measure."""
    large: list[Any] = []
    large += [[large] * 5 for _number in range(8_900)]

    assert cold().dump_value([tree(2000, 0), {0.5, 1.5}])
    assert cold().dump_value([large, {"a"}])
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value([large, {0.5}])

    assert caught.value.limit == "max_expanded"


@pytest.mark.parametrize("beside", [[], [[]]], ids=["", "beside a cycle"])
def test_containers_with_keys_count_where_these_are_looked_at(beside: list[Any]) -> None:
    """Found by an attack: thousands of dicts of one key in a value that has all that it may took twice the worst."""
    if beside:
        beside[0].append(beside[0])
    most, more = (2_500, 8_000) if beside else (8_000, 14_500)
    rest = "x" * 150_000

    assert cold().dump_value([beside, {0.5, 1.5}, rest, [{None: None} for _ in range(most)]])
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value([beside, {0.5, 1.5}, rest, [{None: None} for _ in range(more)]])

    assert caught.value.limit == "max_objects"


def test_copies_of_what_has_no_guard() -> None:
    """Found by an attack: 63 lists that lead to the same thousand NamedTuples took more than all else."""

    def lists(count: int, size: int) -> list[Any]:
        around: list[Any] = []
        points = [Point(around, 0) for _number in range(size)]
        around += [points[:] for _number in range(count)]
        return around

    assert cold().dump_value(lists(2, 20))
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value(lists(15, 1000))

    assert caught.value.limit == "max_objects"


Wide = namedtuple("Wide", [f"field_{number}" for number in range(100)])


def test_copies_of_what_holds_much() -> None:
    """What is gone through to make them counts, too."""
    allow = make_allow()
    allow(Wide)
    around: list[Any] = []
    wide = [Wide(*[around] * 100) for _number in range(40)]
    around += [wide[:] for _number in range(40)]

    with pytest.raises(LimitExceededError) as caught:
        PickleSerializer(allow).dump_value(around)

    assert caught.value.limit == "max_expanded"


def test_fewer_objects_where_keys_are_looked_at() -> None:
    """Found in review: verified, measured and built slowly, 170 KB took a fifth of a second."""
    large: list[Any] = []
    large += [[large, large, number] for number in range(9_100)]

    assert cold().dump_value([large, {"a"}])
    with pytest.raises(LimitExceededError) as caught:
        cold().dump_value([large, {0.5}])

    assert caught.value.limit == "max_objects"


def test_paths_are_not_left_to_the_garbage_collector() -> None:
    """A megabyte for each value that was refused, until it comes."""
    gc.collect()
    gc.disable()
    try:
        cold().dump_value(friends(5))
        with pytest.raises(LimitExceededError):
            cold().dump_value(friends(20))
        functions = [found.__qualname__ for found in gc.get_objects() if type(found) is FunctionType]
    finally:
        gc.enable()

    assert not [name for name in functions if name.startswith("_Measure._count_cycle.<locals>")]


def test_filler_pays_for_no_paths() -> None:
    """Found in review: a long text beside a tangle let the paths through it be counted for a second."""
    with pytest.raises(LimitExceededError):
        cold().dump_value([board(16), "x" * 250_000])


def test_references_that_go_on_and_on() -> None:
    """From the last of three hundred that each know the one before: in steps that nothing else bounds."""
    # The root knows the first and the last one.
    parts = [[1, 300], *([number + 1, number - 1] for number in range(1, 300)), [299]]
    parts[1] = [2]

    with pytest.raises(LimitError, match="max_depth"):
        _Measure([1] * 301, parts, Limits(), 10**6).run([0])


def test_chain_that_is_deeper_than_any_walk() -> None:
    """However it came about."""
    parts = [[number + 1] for number in range(DEEPER_IN_CYCLES * 200)]

    with pytest.raises(LimitError, match="max_depth"):
        _Measure([1] * (len(parts) + 1), [*parts, []], Limits(), 10**6).run([0])


@pytest.mark.parametrize("make", [defaultdict, OrderedDict, dict])
def test_mapping_that_holds_itself(make: Any) -> None:
    """However it was made."""
    value = make()
    value["self"] = [value] * 3

    loaded = cold().load_value(cold().dump_value(value))

    assert loaded["self"][2] is loaded


# -- what is promised, for graphs and bytes that nobody thought of

MOST, DEEPEST = 300, 30


def assert_walks_end(serializer: PickleSerializer, data: Any, most: int) -> bool:
    """Whatever is accepted, no walk through any part of it meets more than is promised, or goes deeper."""
    try:
        value = serializer.load_value(data)
    except PayloadError:
        return False
    for part in containers_of(value):
        # What is not shared takes a byte at least.
        _size, depth = walk(part, most + len(data))
        assert depth <= DEEPEST * DEEPER_IN_CYCLES + DEEPER_IN_CYCLES
    return True


def graph(rng: random.Random) -> Any:
    """Return one of some lists, dicts and records that refer to one another at random."""
    makers = (list, list, dict, deque, Counter, lambda: Node("x"), lambda: Model.model_construct(a=None, b=[]))
    inner = [rng.choice(makers)() for _ in range(rng.randrange(1, 12))]
    found = [*inner]
    found += [tuple(rng.choice(found) for _ in range(rng.randrange(1, 4))) for _ in range(rng.randrange(4))]
    found += [Money(rng.choice(found)) for _ in range(rng.randrange(3))]
    for _point in range(rng.randrange(4)):
        found.append(Point(rng.choice(found), rng.choice(found)))
    for holder in inner:
        for part in rng.choices(found, k=rng.randrange(4)):
            if isinstance(holder, Counter):
                key: Any = Hashed(str(len(holder)))
                key.friends = part
                holder[key] = 1
            elif isinstance(holder, Model):
                model: Any = holder
                model.a = part
            elif isinstance(holder, dict):
                holder[len(holder)] = part
            elif isinstance(holder, Node):
                holder.children.append(part)
                holder.parent = rng.choice((None, part))
            else:
                holder.append(part)
    return rng.choice(found)


def test_no_walk_through_a_graph_goes_on_for_ever() -> None:
    """Graphs at random, of which about one in fifty is refused."""
    rng = random.Random(1)  # noqa: S311 - not for secrets
    serializer = cold(max_expanded=MOST, max_depth=DEEPEST)
    outcomes = []
    for _turn in range(3000):
        written = serializer.written(graph(rng))
        outcomes.append(assert_walks_end(serializer, written, MOST))

    assert outcomes.count(True) > 2000
    assert outcomes.count(False) > 10


def program(rng: random.Random) -> bytes:
    """Return opcodes that open, fill, refer, wrap and throw away at random, and put what is left in one list."""
    parts = [a.LIST]
    memo = 1
    frames = [["open"]]
    for _opcode in range(rng.randrange(5, 60)):
        stack = frames[-1]
        chosen = rng.random()
        if chosen < 0.25:
            parts.append(a.LIST)
            stack.append("open")
            memo += 1
        elif chosen < 0.35 and len(frames) < 20:
            parts.append(a.MARK)
            frames.append([])
        elif chosen < 0.65:
            parts.append(a.get(rng.choice((rng.randrange(memo), memo - 1))))
            stack.append("value")
        elif chosen < 0.72 and len(stack) > 2:
            parts.append(a.TUPLE2)
            del stack[-2:]
            stack.append("value")
            memo += 1
        elif chosen < 0.85 and len(stack) > 2:
            count = rng.choice((1, 1, 2))
            parts.append(a.POP * count + a.get(rng.randrange(memo)))
            del stack[-count:]
            stack.append("value")
        elif len(frames) > 1 and frames[-2] and frames[-2][-1] == "open":
            parts.append(a.APPENDS)
            frames.pop()
            frames[-1][-1] = "value"
        elif len(stack) > 1 and stack[-2] == "open":
            parts.append(a.APPEND)
            stack.pop()
            stack[-1] = "value"
    while len(frames) > 1 or len(frames[0]) > 1:
        stack = frames[-1]
        if len(stack) > 1 and stack[-2] == "open":
            parts.append(a.APPEND)
            stack.pop()
            stack[-1] = "value"
        elif len(stack) > 1:
            parts.append(a.TUPLE2)
            stack.pop()
            stack[-1] = "value"
        else:
            frames.pop()
            parts.append(a.APPENDS)
            frames[-1][-1:] = ["value"]
    return a.segment(*parts)


def test_no_walk_through_a_program_goes_on_for_ever() -> None:
    """Bytes that no pickler writes, but that a writer of Redis may."""
    rng = random.Random(2)  # noqa: S311 - not for secrets
    serializer = cold(max_expanded=30, max_depth=DEEPEST)
    outcomes = [assert_walks_end(serializer, program(rng), 30) for _turn in range(6000)]

    assert outcomes.count(True) > 500
    assert outcomes.count(False) > 500
