from __future__ import annotations

import codecs
import json
import pickle
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_picklesession import AllowList, PayloadError, PickleSerializer
from flask_picklesession.pickling import inspector
from flask_picklesession.pickling.inspector import (
    as_json,
    inspect_payload,
    inspect_value,
    nodes_of,
    refusals,
    render,
    type_names,
)

from ..hostile import techniques
from . import assembler as a
from .models import Color, Money, Node, Point, make_allow
from .test_bypasses import ATTACKS, CONTAINERS
from .test_serializer import VALUES

SERIALIZER = PickleSerializer(make_allow())


def family() -> Node:
    """Return a parent whose two children know it, one of them twice there."""
    parent = Node("parent")
    child = Node("child", parent=parent)
    parent.children = [child, child]
    return parent


class TestTree:
    def test_session(self) -> None:
        """Keys, types and sizes are shown; values are not."""
        shown = render(
            inspect_payload(SERIALIZER.dumps({"user_id": 5, "price": Money(Decimal("9.90")), "t": (1, "x")}))
        )

        assert shown.splitlines() == [
            "dict, 3 items, 184 bytes",
            "  user_id: int, 2 bytes",
            "  price: tests.pickling.models:Money, 2 items, 142 bytes",
            "    amount: decimal:Decimal, 1 item, 31 bytes",
            "      [0]: str of 4, 7 bytes",
            "    currency: str of 3, 6 bytes",
            "  t: tuple, 2 items, 11 bytes",
            "    [0]: int, 2 bytes",
            "    [1]: str of 1, 4 bytes",
        ]

    def test_values_are_shown_where_asked_for(self) -> None:
        """Scalars, and keys of dicts."""
        shown = render(inspect_payload(SERIALIZER.dumps({"d": {"secret": "word", 7: None, (1,): b"x"}})), values=True)

        assert "secret: str 'word'" in shown
        assert "7: None None" in shown
        assert "key 2: bytes b'x'" in shown

    def test_keys_are_redacted(self) -> None:
        """A dict's keys are data; a session's keys and the names of fields are not."""
        shown = render(inspect_payload(SERIALIZER.dumps({"d": {"secret": "word"}})))

        assert "secret" not in shown
        assert "word" not in shown

    def test_references(self) -> None:
        """What is shared stands once and is referred to after that; cycles end."""
        shown = render(inspect_value(SERIALIZER.dump_value(family())))  # type: ignore[arg-type]  # bytes

        assert shown.count("name: str") == 2
        assert "parent: see #1" in shown
        assert "[1]: see #2" in shown

    def test_record_and_flat_record_name_their_fields(self) -> None:
        """Whether it was made at once or filled in."""
        tree = inspect_payload(SERIALIZER.dumps({"a": Node("n"), "b": Money(1), "c": Point(1, 2), "d": Color.RED}))

        assert [[label for label, _ in node.children] for _, node in tree.children] == [
            ["name", "children", "parent"],
            ["amount", "currency"],
            ["x", "y"],
            [None],
        ]
        assert type_names(tree)["tests.pickling.models:Color"] == 1

    def test_json(self) -> None:
        """The same for programs, with numbers for references."""
        found = as_json(inspect_payload(SERIALIZER.dumps({"l": [family()], "n": 2**400})), values=True)

        assert json.loads(json.dumps(found)) == found
        assert found["parts"][0]["label"] == "l"
        assert found["parts"][0]["parts"][0]["reference"] == 1
        assert found["parts"][1]["value"] == "an int of 401 bits"
        assert "value" not in as_json(inspect_payload(SERIALIZER.dumps({"n": 1})))["parts"][0]

    @pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
    def test_nothing_that_we_write_is_marked(self, value: Any) -> None:
        """Each kind of value has a tree without a mark."""
        tree = inspect_payload(SERIALIZER.dumps({"x": value}), allowed=make_allow().forms())

        assert refusals(tree) == []


class TestMarks:
    def test_way_in_which_a_class_is_not_stored(self) -> None:
        """A dataclass that has become a NamedTuple, or what somebody made up: refused when it is read."""
        allow = AllowList()
        allow(Point, name="shop:Money")
        old = AllowList()
        old(Node, name="shop:Money")
        stored = PickleSerializer(old).dumps({"x": Node("a")})

        with pytest.raises(PayloadError):
            PickleSerializer(allow).loads(stored)["x"]
        assert refusals(inspect_payload(stored, allowed=allow.forms())) == [
            "shop:Money: stored in a way in which its class is not restored"
        ]

    def test_missing_type(self) -> None:
        """What is not on the list is marked, with its name."""
        tree = inspect_payload(SERIALIZER.dumps({"x": [Money(1), Money(2)]}), allowed={"decimal:Decimal"})

        assert refusals(tree) == ["tests.pickling.models:Money: not on the allow-list"]
        assert "REFUSED: not on the allow-list" in render(tree)
        assert as_json(tree)["parts"][0]["parts"][0]["refused"] == "not on the allow-list"

    def test_pickle_of_others(self) -> None:
        """A legacy pickle is read in each protocol, with the names that it would import; nothing is imported."""
        for protocol in range(6):
            pickled = pickle.dumps({"money": Money(1), "l": [1.5, True, "x", b"x", {1}, family()]}, protocol)
            tree = inspect_value(pickled, allowed=set())

            assert any("Money" in node.type_name or "_reconstructor" in node.type_name for node in nodes_of(tree))
            assert refusals(tree)
            assert render(tree, values=True)

    @pytest.mark.parametrize("name", {**techniques.REFUSED, **techniques.CONTAINERS})
    def test_attack(self, name: str) -> None:
        """Each has a tree in bounded time, and imports nothing."""
        # What pickletools decodes legacy pickles with: Python imports it when it is first used.
        codecs.lookup("raw_unicode_escape")
        data = {**techniques.REFUSED, **techniques.CONTAINERS}[name]
        before, started = set(sys.modules), time.process_time()

        for tree in (inspect_value(data, allowed=set()), inspect_payload(data, allowed=set())):
            shown = render(tree, values=True)
            json.dumps(as_json(tree, values=True))
            assert all(line.isprintable() for line in shown.split("\n"))

        assert set(sys.modules) == before
        assert time.process_time() - started < 20

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "malformed at byte 0"),
            (a.segment(), "no value"),
            (a.segment(a.NONE) + b"x", "bytes follow its end"),
            (b"\x80\x05\x95\x01\x00\x00\x00\x00\x00\x00\x00N.", "opcodes that are never written: FRAME"),
            (a.segment(b"P1\n"), "opcode PERSID"),
            (a.segment(b"(", b"ios\nsystem\n"), "opcode INST"),
            (a.segment(a.NONE * inspector.MAX_OPCODES), f"more than {inspector.MAX_OPCODES} opcodes"),
            (a.segment(b"(0"), "no value"),
            (a.segment(b"0"), "malformed at byte 2"),
            (a.segment(a.TUPLE2), "malformed at byte 2"),
        ],
        ids=range(10),
    )
    def test_reason(self, data: bytes, reason: str) -> None:
        """The root tells what is wrong with the whole."""
        assert inspect_value(data).refused == reason

    @pytest.mark.parametrize(
        "data",
        [
            a.segment(b"cos\nsystem\n0N"),
            a.segment(b"cos\nsystem\n", a.text("id"), a.TUPLE1, b"R0N"),
            a.segment(b"(cos\nsystem\n1N"),
            # A text that looks like the name of a setter fills nothing in.
            a.segment(a.LIST, b"cos\nsystem\na", a.text("#state"), a.get(0), a.EMPTY_TUPLE, b"\x86R0"),
        ],
        ids=["name", "call", "at a mark", "hidden by a text"],
    )
    @pytest.mark.parametrize("allowed", [set(), None], ids=["with a list", "without"])
    def test_what_is_thrown_away_is_told(self, data: bytes, allowed: set[str] | None) -> None:
        """It would have been imported, or called, before."""
        tree = inspect_value(data, allowed=allowed)

        assert len(refusals(tree)) == 1
        assert refusals(tree)[0].startswith("os:system: ")
        assert "os:system" in render(tree)

    def test_control_characters_are_escaped(self) -> None:
        """What is shown cannot reach into a terminal."""
        shown = render(inspect_payload(SERIALIZER.dumps({"k\x1b[2J": "v\x1b[2J", "s": "\ud800"})), values=True)

        assert "\x1b" not in shown
        assert "\\x1b[2J" in shown

    def test_long_trees_are_cut(self) -> None:
        """Lines and depth end."""
        wide = inspect_value(a.segment(b"(", a.NONE * 20_000, a.TUPLE))
        deep = inspect_value(a.segment(a.LIST * 200, b"a" * 199))

        assert render(wide).endswith("lines")
        assert "... deeper" in render(deep)
        found = as_json(deep)
        for _level in range(inspector.MAX_SHOWN_DEPTH):
            (found,) = found["parts"]
        assert found["cut"] is True

    def test_long_text_is_cut(self) -> None:
        """Only the beginning of a long str or bytes is shown."""
        shown = render(inspect_payload(SERIALIZER.dumps({"x": "y" * 10_000})), values=True)

        assert len(shown) < 300
        assert "..." in shown


KNOWN = [*ATTACKS.values(), *CONTAINERS.values(), *techniques.REFUSED.values()]
KNOWN = [known for known in KNOWN if 0 < len(known) < 5000]


@settings(max_examples=500)
@given(st.binary() | st.sampled_from(KNOWN), st.integers(0, 5000), st.binary(max_size=4))
def test_any_bytes_have_a_tree(data: bytes, position: int, inserted: bytes) -> None:
    """Random ones, and known ones with a change."""
    changed = data[: position % (len(data) + 1)] + inserted + data[position % (len(data) + 1) :]
    for tree in (inspect_value(changed, allowed={"decimal:Decimal"}), inspect_payload(changed)):
        assert render(tree, values=True)
        json.dumps(as_json(tree, values=True))
        type_names(tree)
        refusals(tree)


class TestCost:
    """Found in review: bytes that made the inspector, and so the command line, take seconds and gigabytes."""

    def test_value_that_many_keys_refer_to_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A payload of ours never refers; a planted one may."""
        read: list[bytes] = []
        real = inspector._inspect
        monkeypatch.setattr(
            inspector,
            "_inspect",
            lambda data, machine: (read.append(data), real(data, machine))[1],
        )
        root = inspect_payload(b"\x80\x05}\x94(" + a.text("k") + a.raw(b"\x80\x05N.") + b"K\x01h\x02" * 20 + b"u.")

        assert read.count(b"\x80\x05N.") == 1
        assert len(root.children) == 21

    def test_int_in_a_names_place(self) -> None:
        """It is no name, and not turned into text."""
        root = inspect_value(a.segment(a.long(10**5000), a.MEMOIZE, a.get(0), a.get(0), b"\x93"))

        assert "?:?" in render(root)

    def test_long_name(self) -> None:
        """Cut; what follows its mark is not kept with each."""
        name = b"X" + (50_000).to_bytes(4, "little") + b"#" + b"a" * 49_999 + a.MEMOIZE
        root = inspect_value(a.segment(a.text(a.MARKER), name, (a.get(0) + a.get(1) + b"\x93") * 100))

        assert all(len(str(node.value)) < 1000 for node in nodes_of(root) if node.kind == "name")

    def test_arguments_that_are_handed_on_again_and_again(self) -> None:
        """One long tuple, from which thousands are restored."""
        long_tuple = b"(" + a.NONE * 30_000 + a.TUPLE
        restored = a.name("decimal:Decimal") + (a.get(3) + a.get(0) + a.REDUCE) * 15_000

        assert inspect_value(a.segment(b"(", long_tuple, restored)).kind == "cut"

    def test_names_of_fields_that_do_not_fit(self) -> None:
        """They are not gone through."""
        names = a.LIST + b"(" + a.text("x") + b"e"
        root = inspect_value(a.segment(a.name("decimal:Decimal"), a.NONE, a.NONE, a.TUPLE2, names, a.TUPLE2, a.REDUCE))

        assert root.kind == "restored"

    @pytest.mark.parametrize("show", [render, as_json])
    def test_what_is_not_shown_is_not_labelled(self, monkeypatch: pytest.MonkeyPatch, show: Callable[..., Any]) -> None:
        """Forty-nine thousand times one long key became 67 MiB of JSON."""
        key = a.text("\U000e0001" * 60)
        root = inspect_value(a.segment(key, a.DICT, b"(", a.get(0) * 40_000, b"u"))
        labels: list[object] = []
        monkeypatch.setattr(inspector, "_label", lambda label, position, *, values: labels.append(label) or "label")

        show(root, values=True)

        assert len(labels) == inspector.MAX_LINES - 1

    def test_json_is_cut_as_lines_are(self) -> None:
        """The first parts stand there, and a mark where others were."""
        numbers = a.LIST + b"(" + b"".join(a.small(number % 256) for number in range(20_000)) + b"e"
        root = inspect_value(a.segment(b"(", numbers, a.LIST + a.NONE + b"a", a.TUPLE))

        found = as_json(root, values=True)
        first, last = found["parts"]

        assert "cut" not in found
        assert first["cut"] is last["cut"] is True
        assert [part["value"] for part in first["parts"][:3]] == ["0", "1", "2"]
        assert len(first["parts"]) == inspector.MAX_LINES - 3
        assert "parts" not in last
