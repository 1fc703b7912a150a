"""Each technique of a survey of attacks on pickle, in the form that it takes in our format.

Keys are the survey's numbers: A names, B extension codes, C pollution, D calls and resources, E persistent ids, G the
machine; P are attacks on sealed restorers. Sources: Balsn CTF 2019 (pyshv1-3), HITCON CTF 2022 (Picklection), fickling's
test_bypasses (GHSA), picklescan's advisories, PyTorch CVE-2025-32434 and CVE-2026-24747, CPython gh-154848, gh-115952,
gh-143638, gh-143639, bpo-41288, CVE-2020-10735, and the issues of projects whose allow-lists matched prefixes (petastorm
741, Airflow 66499, unrpyc 142).

Each is what an attacker would plant who holds the secret key: it is signed, and its container is in order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..pickling import assembler as a

NODE = "tests.pickling.models:Node"
COLOR = "tests.pickling.models:Color"
RIGHT = "tests.pickling.models:Right"
DECIMAL = a.name("decimal:Decimal")


def stack_global(module: str, name: str) -> bytes:
    """Push a global as pickle's protocol 4 and 5 write it."""
    return a.text(module) + a.text(name) + b"\x93" + a.MEMOIZE


def call(function: bytes, *arguments: bytes) -> bytes:
    """Call what a global names."""
    return function + b"(" + b"".join(arguments) + b"t\x94R\x94"


TOUCH = a.text("touch hit")
SYSTEM = stack_global("posix", "system")
GETATTR = stack_global("builtins", "getattr")
EMPTY = a.name(NODE) + a.EMPTY_TUPLE + a.REDUCE
FILL = a.get(0) + a.text(f"{NODE}#state".replace(".", "/")) + b"\x93" + a.MEMOIZE + a.get(3)
STATE = a.text("name") + a.TUPLE1 + a.text("x") + a.TUPLE2
RECORD = EMPTY + FILL + STATE + a.APPLY
SLOT_STATE = a.NONE + a.DICT + a.text("is_admin") + a.TRUE + b"s" + a.TUPLE2
COUNTER = stack_global("collections", "Counter")


def doubled(times: int, first: int = 1) -> bytes:
    """Push a tuple that holds itself twice, again and again: 2**times items in a few hundred bytes."""
    return a.text("ha") + a.TUPLE1 + b"".join(a.get(n) + a.TUPLE2 for n in range(first, first + times))


#: Refused: the key is quarantined, and nothing else happens.
REFUSED: dict[str, bytes] = {
    "A01 GLOBAL os.system": a.segment(b"cos\nsystem\n", TOUCH, a.TUPLE1, a.REDUCE),
    "A02 STACK_GLOBAL posix.system": a.segment(SYSTEM, TOUCH, a.TUPLE1, a.REDUCE),
    "A03 INST os.system": a.segment(b"(", TOUCH, b"ios\nsystem\n"),
    "A04 OBJ os.system": a.segment(b"(", SYSTEM, TOUCH, b"o"),
    "A05 dotted name through an allowed module": a.segment(call(stack_global("uuid", "os.system"), TOUCH)),
    "A05 dotted name behind our marker": a.segment(call(a.name("uuid:os.system"), TOUCH)),
    "A05 dotted name out of our own module": a.segment(call(stack_global(a.MARKER, "re.enum.sys.exit"), TOUCH)),
    "A06 globals of an allowed class": a.segment(stack_global("tests.pickling.models", "Node.__init__.__globals__")),
    "A06 globals behind our marker": a.segment(a.name("tests.pickling.models:Node.__init__.__globals__")),
    "A07 name that an allowed module imports": a.segment(call(a.name("tests.pickling.models:enum"), TOUCH)),
    "A08 name that an allowed one begins": a.segment(call(a.name("decimal:DecimalX"), TOUCH)),
    "A09 name of protocol 2": a.segment(b"c__builtin__\nset\n", a.EMPTY_TUPLE, a.REDUCE),
    "A10 name that protocol 2 maps to another": b"\x80\x02ccommands\ngetoutput\nX\x09\x00\x00\x00touch hit\x85R.",
    "A11 module with a side effect": a.segment(stack_global("this", "s")),
    "A11 module that is not there": a.segment(stack_global("no_such_module", "x")),
    "A12 getattr": a.segment(call(GETATTR, stack_global("tests.pickling.models", "Node"), a.text("__init__"))),
    "A12 getattr behind our marker": a.segment(call(a.name("builtins:getattr"), a.text("x"), a.text("join"))),
    "A13 attrgetter": a.segment(call(stack_global("operator", "attrgetter"), a.text("__init__.__globals__"))),
    "A14 locate": a.segment(call(stack_global("pydoc", "locate"), a.text("os.system"))),
    "A15 poly1d (mindspore 183)": a.segment(call(stack_global("numpy", "poly1d"), a.text("system"))),
    "A16 runstring (vega 228)": a.segment(
        call(stack_global("numpy.testing._private.utils", "runstring"), TOUCH, a.DICT)
    ),
    "A17 unpickling within (Ray)": a.segment(call(stack_global("_pickle", "loads"), a.raw(b"cos\nsystem\n."))),
    "A18 an Unpickler of one's own": a.segment(call(stack_global("_pickle", "Unpickler"), a.text("x"))),
    "A19 importlib": a.segment(call(stack_global("importlib", "import_module"), a.text("this"))),
    "A20 types.FunctionType": a.segment(call(stack_global("types", "FunctionType"), a.NONE)),
    "A21 the way a ZoneInfo pickles itself": a.segment(
        call(GETATTR, stack_global("zoneinfo", "ZoneInfo"), a.text("_unpickle"))
    ),
    "B01 EXT1": a.segment(b"\x82\xf0", TOUCH, a.TUPLE1, a.REDUCE),
    "B03 EXT4 of nothing": a.segment(b"\x84\xff\xff\xff\x7f", TOUCH, a.TUPLE1, a.REDUCE),
    "B04 EXT2": a.segment(b"\x83\xf0\x00", TOUCH, a.TUPLE1, a.REDUCE),
    "C01 BUILD on a class": a.segment(stack_global("tests.pickling.models", "Node"), SLOT_STATE, b"b"),
    "C01 BUILD on the class's maker": a.segment(a.name(NODE), SLOT_STATE, b"b"),
    "C02 BUILD of a dict on a class": a.segment(
        stack_global("tests.pickling.models", "Node"), a.DICT, a.text("x"), a.TRUE, b"sb"
    ),
    "C03 BUILD that replaces a method": a.segment(
        a.name(NODE), a.NONE, a.DICT, a.text("__init__"), a.get(2), b"s", a.TUPLE2, b"b"
    ),
    "C04 BUILD on collections.Counter": a.segment(COUNTER, SLOT_STATE, b"b"),
    "C04 BUILD on the restorer of Counter": a.segment(a.name("collections:Counter"), SLOT_STATE, b"b"),
    "C04 BUILD on fractions.Fraction": a.segment(stack_global("fractions", "Fraction"), SLOT_STATE, b"b"),
    "C04 BUILD on an Enum": a.segment(stack_global("tests.pickling.models", "Color"), SLOT_STATE, b"b"),
    "C05 BUILD on a function's defaults": a.segment(
        stack_global("tests.pickling.models", "make_allow"), a.NONE, a.DICT, a.text("__defaults__"), a.NONE, b"s", a.TUPLE2, b"b"
    ),
    "C06 BUILD on a function's dict": a.segment(
        stack_global("tests.pickling.models", "make_allow"), a.DICT, a.text("__wrapped__"), a.NONE, b"sb"
    ),
    "C07 BUILD that switches __class__": a.segment(
        RECORD, a.NONE, a.DICT, a.text("__class__"), a.name("tests.pickling.models:Leaf"), b"s", a.TUPLE2, b"b"
    ),
    "C07 field named __class__": a.segment(EMPTY, FILL, a.text("__class__"), a.TUPLE1, a.NONE, a.TUPLE2, a.TUPLE1, a.APPLY),
    "C08 BUILD that runs a property's setter": a.segment(RECORD, SLOT_STATE, b"b"),
    "C09 BUILD with __setstate__": a.segment(
        a.name("tests.pickling.models:Model"), a.EMPTY_TUPLE, a.REDUCE, a.DICT, b"b"
    ),
    "C10 BUILD that shadows a method": a.segment(
        a.name("collections:OrderedDict"), a.EMPTY_TUPLE, a.REDUCE, a.DICT, a.text("items"), a.NONE, b"sb"
    ),
    "C11 SimpleNamespace": a.segment(stack_global("types", "SimpleNamespace"), a.EMPTY_TUPLE, a.REDUCE),
    "C12 BUILD past a frozen dataclass": a.segment(
        a.name("tests.pickling.models:Money#flat"), a.text("amount"), a.TUPLE1, a.small(1), a.TUPLE2, a.REDUCE,
        a.DICT, a.text("amount"), a.NONE, b"sb",
    ),
    "C14 UUID with any object": a.segment(a.name("uuid:UUID"), a.LIST, a.TUPLE1, a.REDUCE),
    "C15 BUILD on a member": a.segment(
        a.name(COLOR), a.text("RED"), a.TUPLE1, a.REDUCE, a.NONE, a.DICT, a.text("_value_"), a.text("evil"), b"s", a.TUPLE2, b"b"
    ),
    "C17 pyshv3: __set__ of a class": a.segment(
        a.name(NODE), a.NONE, a.DICT, a.text("__set__"), a.get(2), b"s", a.TUPLE2, b"b", a.EMPTY_TUPLE, a.REDUCE
    ),
    "D01 REDUCE on a class": a.segment(call(stack_global("tests.pickling.models", "Temperature"), a.small(1))),
    "D02 NEWOBJ": a.segment(stack_global("tests.pickling.models", "Node"), a.EMPTY_TUPLE, b"\x81\x940", a.NONE),
    "D03 APPEND on a record": a.segment(RECORD, TOUCH, b"a"),
    "D04 APPENDS on a class": a.segment(stack_global("tests.pickling.models", "Row"), b"(", TOUCH, b"e"),
    "D05 ADDITEMS on a record": a.segment(RECORD, b"(", TOUCH, b"\x90"),
    "D06 SETITEM on a record": a.segment(RECORD, TOUCH, a.NONE, b"s"),
    "D07 __setstate__ of a restored value": a.segment(DECIMAL, a.text("1"), a.TUPLE1, a.REDUCE, a.NONE, b"b"),
    "D08 datetime with day 255": a.segment(
        a.name("datetime:datetime"), a.raw(b"\x07\xe6\x01\xff\xff\xff\xff\xff\xff\xff"), a.TUPLE1, a.REDUCE
    ),
    "D09 Fraction out of text": a.segment(a.name("fractions:Fraction"), a.text("1e200000000"), a.TUPLE1, a.REDUCE),
    "D09 Fraction of long ints": a.segment(
        a.name("fractions:Fraction"), a.long(1 << 12_000), a.long(3**7_000), a.TUPLE2, a.REDUCE
    ),
    "D10 Decimal with a long exponent": a.segment(DECIMAL, a.text("1e999999999"), a.TUPLE1, a.REDUCE),
    "D10 Decimal zero with a long exponent": a.segment(DECIMAL, a.text("0e-999999999"), a.TUPLE1, a.REDUCE),
    "D11 bytearray of three gigabytes": a.segment(call(stack_global("builtins", "bytearray"), a.long(3_000_000_000))),
    "D12 set of a range": a.segment(call(stack_global("builtins", "set"), a.NONE)),
    "D13 deque filled with a range": a.segment(
        a.name("collections:deque"), a.NONE, a.TUPLE1, a.REDUCE, a.get(0), a.text("collections:deque#state"), b"\x93\x94",
        a.get(4), a.name("builtins:range"), a.small(0), a.long(10**12), a.small(1), a.TUPLE3, a.REDUCE, a.APPLY,
    ),
    "D13 Counter filled with a str": a.segment(
        a.name("collections:Counter"), a.EMPTY_TUPLE, a.REDUCE, a.get(0), a.text("collections:Counter#state"), b"\x93\x94",
        a.get(3), a.text("abc"), a.APPLY,
    ),
    "D14 defaultdict with a factory of the application": a.segment(
        a.name("collections:defaultdict"), a.text("Node"), a.TUPLE1, a.REDUCE
    ),
    "D14 defaultdict with a restorer for a factory": a.segment(
        a.name("collections:defaultdict"), a.name(NODE), a.TUPLE1, a.REDUCE
    ),
    "D15 _codecs.encode": a.segment(call(stack_global("_codecs", "encode"), a.text("x"), a.text("punycode"))),
    "D17 _reconstructor": a.segment(call(stack_global("copyreg", "_reconstructor"), a.NONE, a.NONE, a.NONE)),
    "D18 Enum called with a name": a.segment(a.name(COLOR), a.text("Evil"), a.text("a b"), a.TUPLE2, a.REDUCE),
    "D19 Flag with bits of nothing": a.segment(a.name(RIGHT), a.long(2**40), a.TUPLE1, a.REDUCE),
    "D20 zone that is a path": a.segment(a.name("zoneinfo:ZoneInfo"), a.text("../../../etc/passwd"), a.TUPLE1, a.REDUCE),
    "D21 zone that would be a module": a.segment(a.name("zoneinfo:ZoneInfo"), a.text("Evil/Zone"), a.TUPLE1, a.REDUCE),
    "D23 record that is never filled": a.segment(EMPTY),
    "D24 NEWOBJ_EX": a.segment(a.name(NODE), a.EMPTY_TUPLE, a.DICT, b"\x92\x94"),
    "D25 record as a key before it is filled": a.segment(
        a.DICT, a.name("tests.pickling.models:Hashed"), a.EMPTY_TUPLE, a.REDUCE, a.NONE, b"s"
    ),
    "D26 SETITEM on an Enum": a.segment(a.name(COLOR), TOUCH, a.NONE, b"s"),
    "D28 a class as a value": a.segment(stack_global("tests.pickling.models", "Node")),
    "E01 PERSID": a.segment(b"Ptouch hit\n"),
    "E02 BINPERSID": a.segment(TOUCH, b"Q"),
    "E03 NEXT_BUFFER": a.segment(b"\x97"),
    "E03 READONLY_BUFFER": a.segment(a.raw(b"x"), b"\x98"),
    "G01 LONG_BINPUT of two gigabytes (gh-115952)": a.segment(a.NONE, b"r\x00\x00\x00\x08"),
    "G02 LONG_BINPUT of all": a.segment(a.NONE, b"r\xff\xff\xff\x7f"),
    "G03 PUT as text": a.segment(a.NONE, b"p1000000000\n"),
    "G04 BINBYTES8 that lies": a.segment(b"\x8e\x00\x5e\xd0\xb2\x00\x00\x00\x00", b"x\x94"),
    "G06 BYTEARRAY8 that lies": a.segment(b"\x96\x00\x5e\xd0\xb2\x00\x00\x00\x00", b"x\x94"),
    "G07 BINUNICODE8 that lies": a.segment(b"\x8d\x00\x5e\xd0\xb2\x00\x00\x00\x00", b"x\x94"),
    "G08 FRAME that lies": a.segment(b"\x95\x00\x5e\xd0\xb2\x00\x00\x00\x00", a.NONE),
    "G09 LONG4 that lies": a.segment(b"\x8b\xff\xff\xff\x7f"),
    "G10 LONG4 below zero": a.segment(b"\x8b\xff\xff\xff\xff"),
    "G11 LONG as text": a.segment(b"L" + b"9" * 100_000 + b"L\n"),
    "G12 INT as text": a.segment(b"I" + b"9" * 100_000 + b"\n"),
    "G13 int of 100 KB": a.segment(a.long(1 << 800_000)),
    "G14 nested lists": a.segment(a.LIST * 80_000, b"a" * 79_999),
    "G15 nested tuples as a key": a.segment(a.DICT, a.EMPTY_TUPLE, a.TUPLE1 * 100_000, a.NONE, b"s"),
    "G16 nested frozensets": a.segment(b"(" * 80_000, a.FROZENSET * 80_000),
    "G18 billion laughs": a.segment(doubled(60)),
    "G18 billion laughs, lists": a.segment(a.LIST, *(a.LIST + a.get(n) + b"a" + a.get(n) + b"a" for n in range(60))),
    "G19 billion laughs as a key": a.segment(a.DICT, doubled(60, 2), a.NONE, b"s"),
    "G20 billion laughs in a set": a.segment(a.SET, b"(", doubled(60, 2), b"\x90"),
    "G21 billion laughs in a frozenset": a.segment(b"(", doubled(60), a.FROZENSET),
    "G22 one list, turned into sets thousands of times": a.segment(
        b"(", b"(", a.NONE * 60_000, a.TUPLE, *(a.get(0) for _ in range(8000)), a.TUPLE
    ),
    "G23 one long str, made a Decimal thousands of times": a.segment(
        b"(", b"X\x00\x00\x01\x00" + b"1" * 65_536 + b"\x94", DECIMAL, a.get(0), a.TUPLE1, a.REDUCE, a.TUPLE
    ),
    "G24 colliding ints": a.segment(a.DICT, b"(", *(a.long(n * (2**61 - 1)) + a.NONE for n in range(1, 12_000)), b"u"),
    "G25 colliding UUIDs": a.segment(
        a.SET, b"(", a.name("uuid:UUID"), a.raw(bytes(16)), a.TUPLE1, a.REDUCE,
        *(a.get(3) + a.raw((n * (2**61 - 1)).to_bytes(16, "big")) + a.TUPLE1 + a.REDUCE for n in range(1, 8000)), b"\x90",
    ),
    "G28 fifty thousand empty sets": a.segment(b"(", a.SET * 50_000, a.TUPLE),
    "G26 DUP": a.segment(a.NONE, b"2" * 100_000, b"0" * 100_000),
    "G27 MARK": a.segment(b"(" * 200_000),
    "G27 MARK, before a field": a.segment(a.text("x"), a.NONE, (b"(" + a.get(0)) * 60_000),
    "G30 truncated": a.PROTO + a.LIST,
    "G31 nothing": b"",
    "G32 bytes after STOP": a.segment(a.NONE) + b"x",
    "G33 two pickles": a.segment(a.NONE) * 2,
    "G34 PROTO 255": b"\x80\xffN.",
    "G35 PROTO twice": a.segment(b"\x80\x05", a.NONE),
    "G36 more than one value": a.segment(a.NONE, a.NONE),
    "G37 STOP behind a MARK": a.segment(a.NONE, b"(", a.NONE),
    "G40 SETITEMS with an odd number": a.segment(a.DICT, b"(", a.NONE, b"u"),
    "G41 memo read ahead": a.segment(a.get(7)),
    "G42 POP of nothing": a.segment(b"0"),
    "G42 POP_MARK of nothing": a.segment(b"1"),
    "G44 STRING": a.segment(b"S'a\\x41'\n"),
    "G45 UNICODE": a.segment(b"Va\\u0041\n"),
    "G46 FLOAT": a.segment(b"F1e400\n"),
    "G47 FRAME that hides (gh-154848)": a.segment(
        b"\x95\x04\x00\x00\x00\x00\x00\x00\x00", a.raw(b"cos\nsystem\n" + TOUCH + b"\x85R")
    ),
    "X1 Decimal sNaN": a.segment(DECIMAL, a.text("sNaN"), a.TUPLE1, a.REDUCE),
    "N1 ndarray of uninitialised memory": a.segment(call(stack_global("numpy", "ndarray"), a.long(65_536))),
    "Y1 pydantic state": a.segment(
        a.name("tests.pickling.models:Model"), a.EMPTY_TUPLE, a.REDUCE, a.get(0),
        a.text("tests/pickling/models:Model#state"), b"\x93\x94", a.get(3), a.DICT, a.APPLY,
    ),
    "P01 BUILD of a slot state on a restorer": a.segment(DECIMAL, SLOT_STATE, b"b"),
    "P02 BUILD of a dict on a restorer": a.segment(DECIMAL, a.DICT, b"b"),
    "P07 NEWOBJ on a restorer": a.segment(DECIMAL, a.EMPTY_TUPLE, b"\x81\x94"),
    "P09 REDUCE on a restored value": a.segment(RECORD, a.EMPTY_TUPLE, a.REDUCE),
    "P13 setter of another type": a.segment(
        EMPTY, a.get(0), a.text("tests/pickling/models:Hashed#state"), b"\x93\x94", a.get(3), STATE, a.APPLY
    ),
    "P15 restorer as data": a.segment(DECIMAL),
    "P16 restorer in a list": a.segment(a.LIST, DECIMAL, b"a"),
    "P18 list that grows after its holder was restored": a.segment(
        a.LIST, a.name("tests.pickling.models:Money#flat"), a.text("amount"), a.TUPLE1, a.get(0), a.TUPLE2, a.REDUCE, b"0",
        a.get(0), TOUCH, b"a",
    ),
    "P25 argument that is shared by popping": a.segment(a.LIST, DECIMAL, a.get(0), a.TUPLE1, a.REDUCE, b"0"),
    "P29 nine hundred colliding ints": a.segment(
        a.DICT, b"(", *(a.long(n * (2**61 - 1)) + a.NONE for n in range(1, 900)), b"u"
    ),
    "P29 twenty colliding ints": a.segment(a.SET, b"(", *(a.long(n * (2**61 - 1)) for n in range(1, 20)), b"\x90"),
    "P35 pseudo-member": a.segment(a.name(RIGHT), a.small(255), a.TUPLE1, a.REDUCE),
    "P36 member by an unknown name": a.segment(a.name(COLOR), a.text("__class__"), a.TUPLE1, a.REDUCE),
    "P43 time zone of a foreign type": a.segment(
        a.name("datetime:datetime"), a.raw(b"\x07\xe6\x01\x01" + bytes(6)), a.NONE, a.TUPLE1, a.TUPLE2, a.REDUCE
    ),
    "CVE-2024-50050 name of a method": a.segment(a.name("decimal:Decimal.from_float"), a.small(1), a.TUPLE1, a.REDUCE),
    "CVE-2025-32434 archive in the legacy form": b"PK\x03\x04" + bytes(64),
    "protocol 0": b"cos\nsystem\n(S'touch hit'\ntR.",
    "protocol 4": b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00]\x94.",
}  # fmt: skip

#: Accepted: what they hold are allowed values, and no more than that.
HARMLESS: dict[str, bytes] = {
    "D22 network of all addresses": a.segment(a.name("ipaddress:IPv4Network"), a.raw(bytes(5)), a.TUPLE1, a.REDUCE),
    "D27 path": a.segment(a.name("pathlib:PurePosixPath"), a.text("/etc/passwd"), a.TUPLE1, a.REDUCE),
    "G22 a thousand empty sets": a.segment(a.LIST, b"(", a.SET * 1000, b"e"),
    "G28 fourteen thousand empty sets": a.segment(b"(", a.SET * 14_000, a.TUPLE),
    "G38 lone surrogate": a.segment(b"\x8c\x03\xed\xa0\x80\x94"),
    "G39 list that holds itself": a.segment(a.LIST, a.get(0), b"a"),
    "G43 nan": a.segment(b"G\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    "P37 field of another type": a.segment(EMPTY, FILL, a.text("name"), a.TUPLE1, a.small(5), a.TUPLE2, a.APPLY),
}  # fmt: skip

#: In a container's place.
CONTAINERS: dict[str, bytes] = {
    "key of bytes": b"\x80\x05}C\x01kNs.",
    "value of a list": b"\x80\x05}\x8c\x01k]s.",
    "int of a megabyte": b"\x80\x05}\x8c\x01k\x8b\xff\xff\x00\x00" + bytes(65535) + b"s.",
    "SETITEMS without MARK": b"\x80\x05}\x8c\x01kNu.",
    "bytes after STOP": b"\x80\x05}.x",
    "key twice": b"\x80\x05}(\x8c\x01kN\x8c\x01kNu.",
    "GLOBAL as a value": b"\x80\x05}\x8c\x01kcos\nsystem\ns.",
    "REDUCE as a value": b"\x80\x05}\x8c\x01k" + SYSTEM + TOUCH + b"\x85Rs.",
    "FRAME": b"\x80\x05\x95\x02\x00\x00\x00\x00\x00\x00\x00}.",
    "memo read": b"\x80\x05}\x8c\x01kh\x00s.",
    "EXT1": b"\x80\x05}\x8c\x01k\x82\xf0s.",
    "key that is no UTF-8": b"\x80\x05}\x8c\x01\xffNs.",
    "length that lies": b"\x80\x05}\x8c\x01kB\xff\xff\xff\x7fs.",
    "MessagePack": b"\x81\xa1k\xc0",
    "JSON": b'{"k": null}',
    "no bytes": b"",
    "list": b"\x80\x05].",
    "beyond the limit": b"\x80\x05}\x8c\x01kB" + (300_000).to_bytes(4, "little") + bytes(300_000) + b"s.",
}


def _with_times(*times: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:69] + struct.pack(">QQQQ", *times) + content[101:]


#: What becomes of a record's content, before it is signed: then it is no record.
HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "one byte": lambda content: content[:1],
    "ends within the header": lambda content: content[:50],
    "header of no length": lambda content: content[:3] + b"\0\0" + content[5:],
    "header shorter than it is": lambda content: content[:3] + b"\0\x10" + content[5:],
    "header longer than the record": lambda content: content[:3] + b"\xff\xff" + content[5:],
    "born at the end of time": _with_times(2**64 - 1, 0, 0, 0),
    "authenticated at the end of time": _with_times(1, 2**64 - 1, 0, 0),
    "confirmed at the end of time": _with_times(1, 0, 2**64 - 1, 0),
    "lives until the end of time": _with_times(1, 0, 0, 2**64 - 1),
}

#: What a worker cannot tell from a record that a newer version wrote: an outage, with the cookie untouched.
NEWER: dict[str, Callable[[bytes], bytes]] = {
    "format": lambda content: b"\2" + content[1:],
    "kind": lambda content: content[:1] + b"\x09" + content[2:],
    "flags": lambda content: content[:2] + b"\x80" + content[3:],
}

#: What is sent in a cookie's place.
COOKIES: dict[str, str] = {
    "nothing": "",
    "one character": "x",
    "dots": "....",
    "a cookie of Flask's": "eyJ1c2VyX2lkIjoxfQ.aSNOPw.0000000000000000000000000000000000000",
    "a pickle": "gASVHgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu",
    "the shape of ours": f"{'A' * 47}.aSNOPw.{'A' * 43}",
    "a hundred kilobytes": "A" * 100_000,
    "a path": "../../etc/passwd",
    "a key of ours": "session:" + "A" * 43,
    "not ASCII": "\u017f" * 47 + ".aSNOPw." + "A" * 43,
    "a line": f"{'A' * 47}.aSNOPw.{'A' * 42}%0a",
}
