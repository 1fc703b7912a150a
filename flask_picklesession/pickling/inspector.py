"""Show what bytes would build, without building it: a tree of types, sizes and references.

Works on payloads and segments of ours, on pickles of others and on hostile bytes. Reads opcodes as an abstract machine
whose values are nodes; names stay names. Nothing is imported, no class is looked up, no pickle is loaded: this module
does not know how to.

Bounded in all it does: opcodes read, depth and lines shown.
"""

from __future__ import annotations

import pickletools
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any

from .names import FIELDS_SUFFIX, LONGEST_NAME, MARKER, STATE_SUFFIX, read_name, shown_name

#: Opcodes that are read of one pickle, more than a payload of the default size has bytes; levels and lines that are
#: shown of it.
MAX_OPCODES, MAX_SHOWN_DEPTH, MAX_LINES = 300_000, 60, 5_000

#: Parts that all records and restored values of one payload hold together: one long tuple of them can be referred to
#: again and again.
MAX_PARTS = 200_000

#: Characters of a name that are looked at.
MAX_NAME = 2 * LONGEST_NAME

#: Characters shown of a text.
MAX_TEXT = 120

#: Opcodes that make objects, or change them, past what our pickler writes.
_FOREIGN = frozenset({"GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})

#: Opcodes that our pickler never writes, and that do no harm by themselves.
_UNWRITTEN = frozenset(
    {"FRAME", "DUP", "PUT", "BINPUT", "LONG_BINPUT", "GET", "LIST", "DICT", "INT", "LONG", "FLOAT"}
) | {*("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE8", "BINBYTES8")}


@dataclass(slots=True, eq=False)
class Node:
    """One value, or what stands in a value's place."""

    #: ``dict``, ``list``, ``tuple``, ``set``, ``frozenset``, a scalar's type, ``name``, ``restored``, ``refused`` or
    #: ``cut``.
    kind: str
    #: Bytes that it takes in the pickle; shared parts count where they stand first.
    size: int = 0
    #: What a name names, or what the value is restored as: ``module:QualName``.
    type_name: str = ""
    #: A scalar, or ``None``.
    value: Any = None
    #: Label -> part. A label of ``None`` is that of a position, a node that of a dict's key.
    children: list[tuple[str | Node | None, Node]] = field(default_factory=list)
    #: Why this would be refused, if it would.
    refused: str | None = None
    #: Where it begins in the pickle.
    start: int = 0


_Parts = list[tuple[str | Node | None, Node]]

#: A part's label, and its position.
_Place = tuple[str | Node | None, int]


def inspect_payload(payload: bytes, *, allowed: Container[str] | None = None) -> Node:
    """Return the tree of a session: a dict whose values are segments, each read in turn.

    :param payload: the bytes, whoever wrote them.
    :param allowed: what :meth:`.allowlist.AllowList.forms` returns, to mark what is not among that; ``None``: none, and
        what looks like the names of fields is shown as such.
    """
    machine = _Machine(allowed)
    root = _inspect(payload, machine)
    if root.kind == "dict":
        # In a payload a value that is no scalar stands as the bytes of its segment.
        found: dict[int, Node] = {}
        for position, (label, child) in enumerate(root.children):
            if child.kind == "bytes":
                # Once, however many keys refer to it.
                if id(child) not in found:
                    # What all values of a payload hold is bounded together.
                    machine = _Machine(allowed, machine.parts)
                    found[id(child)] = _inspect(child.value, machine)
                root.children[position] = (label, found[id(child)])
    return root


def inspect_value(segment: bytes, *, allowed: Container[str] | None = None) -> Node:
    """Return the tree of one pickle.

    :param segment: the bytes, whoever wrote them.
    :param allowed: as in :func:`inspect_payload`.
    """
    return _inspect(segment, _Machine(allowed))


def _inspect(segment: bytes, machine: _Machine) -> Node:
    position = 0
    try:
        for count, (opcode, argument, found) in enumerate(pickletools.genops(segment)):
            position = found or 0
            if count >= MAX_OPCODES:
                return Node("cut", len(segment), refused=f"more than {MAX_OPCODES} opcodes")
            machine.step(opcode.name, argument, position)
            if machine.parts > MAX_PARTS:
                return Node("cut", len(segment), refused=f"values that hold more than {MAX_PARTS} parts")
    except Exception:
        # Whatever pickletools or the machine make of hostile bytes.
        return Node("refused", len(segment), refused=f"malformed at byte {position}")
    return _finished(machine, segment, position)


def _finished(machine: _Machine, segment: bytes, end: int) -> Node:
    root = machine.stack[-1] if machine.stack else Node("refused", refused="no value")
    if machine.unwritten:
        root.refused = root.refused or f"opcodes that are never written: {', '.join(sorted(machine.unwritten))}"
    if end + 1 != len(segment):
        root.refused = root.refused or "bytes follow its end"
    root.children += [("thrown away", node) for node in _hidden(machine.refused, root)]
    root.size = len(segment)
    return root


def _hidden(refused: list[Node], root: Node) -> list[Node]:
    """Return what would be refused and is in no part of a tree, as it is taken off the stack again: each once."""
    found = {(node.type_name, node.refused): node for node in refused}
    for node in nodes_of(root):
        found.pop((node.type_name, node.refused), None)
    return list(found.values())


class _Machine:
    """Reads opcodes, and keeps nodes where a pickle's reader keeps values."""

    def __init__(self, allowed: Container[str] | None, parts: int = 0) -> None:
        self._allowed = allowed
        self._memo: dict[int, Node] = {}
        self._marks: list[int] = []
        self._position = 0
        self.stack: list[Node] = []
        self.unwritten: set[str] = set()
        #: What would be refused, wherever it went.
        self.refused: list[Node] = []
        #: How many parts were given to values that are restored.
        self.parts = parts

    def step(self, name: str, argument: Any, position: int) -> None:
        """Read one opcode."""
        if self.stack:
            # What the last opcode made or filled ends here.
            self.stack[-1].size = position - self.stack[-1].start
        self._position = position
        if name in _UNWRITTEN:
            self.unwritten.add(name)
        handler = _HANDLERS.get(name)
        if handler is None:
            self._push(Node("refused", refused=f"opcode {name}"))
            return
        handler(self, argument)
        if name in _FOREIGN:
            self.stack[-1].refused = self.stack[-1].refused or f"opcode {name}"
            self.refused.append(self.stack[-1])

    def _push(self, node: Node, start: int | None = None) -> None:
        node.start = self._position if start is None else start
        self.stack.append(node)
        if node.refused is not None:
            self.refused.append(node)

    def _from_mark(self) -> list[Node]:
        mark = self._marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    # -- what opcodes do

    def scalar(self, value: Any) -> None:
        self._push(Node("None" if value is None else type(value).__name__, value=value))

    def container(self, kind: str, items: list[Node]) -> None:
        start = items[0].start if items else None
        self._push(Node(kind, children=[(None, item) for item in items]), start)

    def last(self, kind: str, count: int) -> None:
        items = self.stack[-count:] if count else []
        if len(items) < count:
            raise IndexError
        del self.stack[len(self.stack) - count :]
        self.container(kind, items)

    def marked(self, kind: str) -> None:
        self.container(kind, self._from_mark())

    def marked_dict(self) -> None:
        items = self._from_mark()
        self._push(Node("dict"))
        self._fill_pairs(items)

    def mark(self) -> None:
        self._marks.append(len(self.stack))

    def memoize(self, index: int | None = None) -> None:
        self._memo[len(self._memo) if index is None else index] = self.stack[-1]

    def read_memo(self, index: int) -> None:
        self.stack.append(self._memo[index])

    def append(self, items: list[Node]) -> None:
        self.stack[-1].children += [(None, item) for item in items]

    def append_one(self) -> None:
        item = self.stack.pop()
        self.append([item])

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill_pairs([key, value])

    def _fill_pairs(self, items: list[Node]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1].children.append((key, value))

    def name(self, module: str, name: str, start: int | None = None) -> None:
        if module == MARKER:
            type_name = read_name(name[:MAX_NAME].encode("ascii", "replace"))
            suffix = "".join(name[:MAX_NAME].partition("#")[1:])
        else:
            # Of another pickle: the names that it would import.
            type_name, suffix = shown_name(f"{module}:{name}"), ""
        refused = None
        if self._allowed is not None:
            if module != MARKER or type_name not in self._allowed:
                refused = "not on the allow-list"
            elif type_name + suffix not in self._allowed:
                # Such as a dataclass that has become a NamedTuple.
                refused = "stored in a way in which its class is not restored"
        self._push(Node("name", type_name=type_name, value=suffix, refused=refused), start)

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(_name_in(module), _name_in(name), name.start)

    def spaced_name(self, argument: str) -> None:
        module, _space, name = argument.partition(" ")
        self.name(module, name)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function.kind == "name" and function.value == STATE_SUFFIX and len(arguments.children) == 2:
            # The setter of a record, with the record that stands below: fills it in. Our pickler pops what it returns.
            (_, record), (_, state) = arguments.children
            record.children = self._counted(_fields(state, self._has_fields(function)))
            self._push(Node("name", type_name=function.type_name))
            return
        restored = Node("restored", type_name=function.type_name, refused=function.refused)
        restored.children.extend(self._counted(_fields(arguments, self._has_fields(function))))
        self._push(restored, function.start)

    def _has_fields(self, name: Node) -> bool:
        """Tell whether what a name restores is a record: of others the first argument may be a value."""
        return self._allowed is None or f"{name.type_name}{FIELDS_SUFFIX}" in self._allowed

    def _counted(self, fields: _Parts) -> _Parts:
        self.parts += len(fields)
        return fields

    def foreign_call(self, items: list[Node]) -> None:
        restored = Node("restored", type_name=items[0].type_name, refused=items[0].refused)
        restored.children.extend((None, item) for item in items[1:])
        self._push(restored, items[0].start)

    def instance(self, argument: str) -> None:
        items = self._from_mark()
        self.spaced_name(argument)
        self.foreign_call([self.stack.pop(), *items])

    def new_object(self, count: int) -> None:
        items = self.stack[-count:]
        del self.stack[-count:]
        self.foreign_call(items)

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].children.append(("state", state))

    def pop_mark(self) -> None:
        self._from_mark()

    def pop(self) -> None:
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self.stack.pop()


def _name_in(node: Node) -> str:
    # What is no text names nothing; to turn an int into text may take a millisecond.
    return node.value if isinstance(node.value, str) else "?"


def _fields(state: Node, has_names: bool) -> _Parts:
    """Return a record's fields by name, where its first part holds the names."""
    if has_names and state.children and state.children[0][1].kind == "tuple":
        named, values = state.children[0][1].children, state.children[1:]
        # As many, first: the names of a thousand records may be one long tuple.
        if len(named) == len(values) and all(isinstance(name.value, str) for _label, name in named):
            return [(name.value, value) for (_n, name), (_v, value) in zip(named, values, strict=True)]
    return [(None, state)] if state.kind != "tuple" else state.children


_Handler = Callable[[_Machine, Any], None]

_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, argument: None),
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        _Machine.scalar,
    ),
    "NONE": lambda machine, _: machine.scalar(None),
    "NEWTRUE": lambda machine, _: machine.scalar(True),
    "NEWFALSE": lambda machine, _: machine.scalar(False),
    "EMPTY_LIST": lambda machine, _: machine.container("list", []),
    "EMPTY_DICT": lambda machine, _: machine.container("dict", []),
    "EMPTY_SET": lambda machine, _: machine.container("set", []),
    "EMPTY_TUPLE": lambda machine, _: machine.container("tuple", []),
    "TUPLE1": lambda machine, _: machine.last("tuple", 1),
    "TUPLE2": lambda machine, _: machine.last("tuple", 2),
    "TUPLE3": lambda machine, _: machine.last("tuple", 3),
    "TUPLE": lambda machine, _: machine.marked("tuple"),
    "LIST": lambda machine, _: machine.marked("list"),
    "DICT": lambda machine, _: machine.marked_dict(),
    "FROZENSET": lambda machine, _: machine.marked("frozenset"),
    "APPEND": lambda machine, _: machine.append_one(),
    "APPENDS": lambda machine, _: machine.append(machine._from_mark()),
    "ADDITEMS": lambda machine, _: machine.append(machine._from_mark()),
    "SETITEM": lambda machine, _: machine.set_item(),
    "SETITEMS": lambda machine, _: machine._fill_pairs(machine._from_mark()),
    "MARK": lambda machine, _: machine.mark(),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.read_memo),
    "STACK_GLOBAL": lambda machine, _: machine.stack_name(),
    "GLOBAL": _Machine.spaced_name,
    "REDUCE": lambda machine, _: machine.call(),
    "OBJ": lambda machine, _: machine.foreign_call(machine._from_mark()),
    "INST": _Machine.instance,
    "NEWOBJ": lambda machine, _: machine.new_object(2),
    "NEWOBJ_EX": lambda machine, _: machine.new_object(3),
    "BUILD": lambda machine, _: machine.build(),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.pop_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
}


# -- what is asked of a tree


def nodes_of(root: Node) -> Iterator[Node]:
    """Yield each node of a tree once, however often it is referred to."""
    seen: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for label, child in reversed(node.children):
            left.append(child)
            if isinstance(label, Node):
                left.append(label)


def type_names(root: Node) -> Counter[str]:
    """Count the types of a tree: names of what is restored, and built-in types."""
    return Counter(node.type_name or f"builtins:{node.kind}" for node in nodes_of(root) if node.kind not in _NO_TYPE)


def refusals(root: Node) -> list[str]:
    """Return why parts of a tree would be refused, each reason once, with the type that it is about."""
    found = dict.fromkeys(
        f"{node.type_name}: {node.refused}" if node.type_name else node.refused
        for node in nodes_of(root)
        if node.refused is not None
    )
    return list(found)


_NO_TYPE = ("name", "refused", "cut")
_CONTAINERS = ("dict", "list", "tuple", "set", "frozenset", "restored")


def _shared(root: Node) -> dict[int, int]:
    """Give a number to each container or record to which more than one place refers."""
    places: Counter[int] = Counter()
    for node in nodes_of(root):
        for _label, child in node.children:
            if child.kind in _CONTAINERS:
                places[id(child)] += 1
    places[id(root)] += 1
    shared = [id(node) for node in nodes_of(root) if places[id(node)] > 1]
    return {key: number for number, key in enumerate(shared, 1)}


def render(root: Node, *, values: bool = False) -> str:
    """Return a tree as lines of text.

    :param values: whether to show what scalars and keys of dicts hold; otherwise only their types and sizes.
    """
    lines: list[str] = []
    numbers, shown = _shared(root), set[int]()
    left: list[tuple[int, _Place | None, Node]] = [(0, None, root)]
    while left:
        depth, place, node = left.pop()
        if len(lines) >= MAX_LINES:
            lines.append(f"... more than {MAX_LINES} lines")
            break
        label = "" if place is None else _label(*place, values=values or depth == 1) + ": "
        lines.append("  " * depth + label + _described(node, numbers, shown, values=values))
        if id(node) in shown:
            continue
        if node.children:
            shown.add(id(node))
        if node.children and depth >= MAX_SHOWN_DEPTH:
            lines.append("  " * (depth + 1) + "... deeper")
            continue
        left += reversed(
            [(depth + 1, (label, position), child) for position, (label, child) in enumerate(node.children)]
        )
    return "\n".join(lines)


def as_json(root: Node, *, values: bool = False) -> dict[str, Any]:
    """Return a tree as what :func:`json.dumps` takes: as many parts as :func:`render` shows. ``cut`` marks the others.

    :param values: as in :func:`render`.
    """
    numbers, shown = _shared(root), set[int]()
    result: dict[str, Any] = {}
    left: list[tuple[int, dict[str, Any], Node]] = [(0, result, root)]
    # Parts that may still be shown.
    free = MAX_LINES - 1
    while left:
        depth, filled, node = left.pop()
        filled.update(_facts(node, values=values))
        if id(node) in numbers:
            filled["reference"] = numbers[id(node)]
        if id(node) in shown or not node.children:
            continue
        shown.add(id(node))
        children = node.children[:free] if depth < MAX_SHOWN_DEPTH else []
        if len(children) < len(node.children):
            filled["cut"] = True
        free -= len(children)
        if not children:
            continue
        parts: list[dict[str, Any]] = [
            {"label": _label(label, position, values=values or not depth)}
            for position, (label, _child) in enumerate(children)
        ]
        filled["parts"] = parts
        left += [(depth + 1, part, child) for part, (_label_of, child) in zip(parts, children, strict=True)][::-1]
    return result


def _facts(node: Node, *, values: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"type": node.type_name or node.kind, "bytes": node.size}
    if node.children:
        facts["items"] = len(node.children)
    if values and node.kind not in (*_CONTAINERS, *_NO_TYPE):
        facts["value"] = _text(node.value)
    if node.refused is not None:
        facts["refused"] = node.refused
    return facts


def _described(node: Node, numbers: dict[int, int], shown: set[int], *, values: bool) -> str:
    number = numbers.get(id(node))
    if number is not None and id(node) in shown:
        return f"see #{number}"
    text = printable(node.type_name or node.kind)
    if node.kind in _CONTAINERS:
        text += f", {len(node.children)} item{'s' * (len(node.children) != 1)}"
    elif values and node.kind not in _NO_TYPE:
        text += f" {_text(node.value)}"
    elif isinstance(node.value, str | bytes) and node.kind != "name":
        text += f" of {len(node.value)}"
    text += f", {node.size} bytes"
    if number is not None:
        text += f" #{number}"
    return f"{text} REFUSED: {node.refused}" if node.refused is not None else text


def _label(label: str | Node | None, position: int, *, values: bool) -> str:
    if isinstance(label, str):
        return printable(label)
    if isinstance(label, Node) and values and not label.children:
        return printable(label.value) if isinstance(label.value, str) else _text(label.value)
    return f"[{position}]" if label is None else f"key {position}"


def _text(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > MAX_TEXT * 3:
        return f"an int of {value.bit_length()} bits"
    text = repr(value[:MAX_TEXT] if isinstance(value, str | bytes | bytearray) else value)
    return printable(text) + ("..." if isinstance(value, str | bytes | bytearray) and len(value) > MAX_TEXT else "")


def printable(text: str) -> str:
    """Return a text that cannot do anything to a terminal."""
    shown = text[: 2 * MAX_TEXT]
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in shown)
