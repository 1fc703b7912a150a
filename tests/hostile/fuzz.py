"""Search for bytes that do anything but load as allowed values or raise the one documented error.

``python -m tests.hostile.fuzz --seconds 3600`` makes segments near our grammar and mutates real ones;
``--guided`` lets atheris (libFuzzer) choose them by the branches that they reach. What breaks the oracle is written to
the current folder. The suite runs this for some seconds, and over the kept seeds.
"""

from __future__ import annotations

import argparse
import enum
import random
import sys
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup

from flask_picklesession import PayloadError, PickleSerializer
from flask_picklesession.exceptions import RefusedError
from flask_picklesession.pickling import Limits
from flask_picklesession.pickling.unpickler import unpickle

from ..pickling import assembler as a
from ..pickling import models, test_cycles
from ..pickling.test_bypasses import ATTACKS
from ..pickling.test_serializer import VALUES
from ..pickling.walks import TooLong, containers_of, walk
from . import techniques

SEEDS = Path(__file__).parent / "seeds"

ALLOWED = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, range),
        *(datetime, date, time_of_day, timedelta, timezone, ZoneInfo, Decimal, Fraction, UUID, OrderedDict),
        *(defaultdict, Counter, deque, Markup, IPv4Address, IPv4Network, IPv4Interface, IPv6Address, IPv6Network),
        *(IPv6Interface, PurePosixPath, PureWindowsPath),
        *(found for found in vars(models).values() if isinstance(found, type) and found.__module__ == models.__name__),
    }
)

#: Seconds of CPU that one value may take: with the interpreter slowed down by what watches it.
SECONDS = 2.0

#: Wide enough for most of what is tried, and so tight that small samples come upon each of them.
SERIALIZERS = [
    PickleSerializer(models.make_allow(), limits=limits, verdicts_kept=0)
    for limits in (
        Limits(max_expanded=5_000),
        Limits(max_expanded=60, max_depth=6, max_items=40, max_objects=50, max_int_digits=100, max_odd_keys=10),
    )
]
#: One for each time that a record whose hash looks at its field was asked for it.
HASHES: list[None] = []

#: A key is hashed when it is looked at, when it is put in, and when an OrderedDict is filled from a dict.
HASHES_PER_ITEM = 3


def _counted_hash(self: models.Hashed) -> int:
    HASHES.append(None)
    return hash(self.key)


models.Hashed.__hash__ = _counted_hash  # type: ignore[method-assign]

NAMES = sorted(written.decode().replace("/", ".") for written in SERIALIZERS[0]._entries)
REAL = [
    segment
    for value in [*([value, value] for value in VALUES), *(make() for make in test_cycles.ACCEPTED.values())]
    if isinstance(segment := PickleSerializer(models.make_allow()).dump_value(value), bytes) and len(segment) < 2000
]


class Broken(Exception):
    """The oracle does not hold."""


def check(data: bytes) -> bool:
    """Load bytes as a value and as a payload.

    :return: whether anything was accepted.
    :raises Broken: if anything but allowed values or the documented error came of it.
    """
    before = (len(sys.modules), _fingerprint())
    accepted = False
    for serializer in SERIALIZERS:
        for load in (serializer.load_value, serializer.loads):
            try:
                value = _load(load, data)
            except PayloadError:
                continue
            accepted = True
            _check_types(value)
            _check_walks(value, serializer)
            if load == serializer.load_value:
                _check_guarded(data, value, serializer)
    if (len(sys.modules), _fingerprint()) != before:
        raise Broken("changed the process")
    return accepted


def _load(load: Callable[[bytes], Any], data: bytes) -> Any:
    HASHES.clear()
    started = time.process_time()
    try:
        return load(data)
    finally:
        if time.process_time() - started > SECONDS:
            raise Broken("took too long")
        if len(HASHES) > HASHES_PER_ITEM * (2 * len(data) + 100):
            raise Broken("hashed too often")


def _check_guarded(data: bytes, value: object, serializer: PickleSerializer) -> None:
    try:
        guarded = unpickle(data, serializer._guarded)
    except PayloadError as error:
        # It is asked for many keys of chosen hashes only.
        if not any(reason in error.reason for reason in ("collide", "stands twice", "one key here")):
            raise Broken("the guarded unpickler refuses what the other takes") from None
    else:
        # The hash of what is not a number is its id: a set of these has an order of its own each time.
        if _written(value) != _written(guarded) and all(
            part == part for part in _parts(value) if type(part) in _NUMBERS
        ):
            raise Broken("the two unpicklers differ")


_NUMBERS = (float, complex, Decimal)


def _check_walks(value: object, serializer: PickleSerializer) -> None:
    limits = serializer._limits
    for part in containers_of(value):
        try:
            _size, depth = walk(part, limits.max_expanded)
        except TooLong:
            raise Broken("a walk goes on for too long") from None
        if depth > 4 * limits.max_depth:
            raise Broken("a walk goes too deep")


def _written(value: object) -> bytes | None:
    try:
        return SERIALIZERS[0].written(value)
    except RefusedError:
        # Restored, but not to be stored again.
        return None


def _fingerprint() -> object:
    return (
        [len(vars(cls)) for cls in ALLOWED],
        [len(cls._value2member_map_) for cls in ALLOWED if issubclass(cls, enum.Enum)],
    )


def _check_types(root: object) -> None:
    for part in _parts(root):
        if type(part) not in ALLOWED:
            raise Broken(f"a {type(part)} came out")


def _parts(root: object) -> Iterator[object]:
    """Yield a value and all that it holds, each once."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        yield value
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            left += value
        # What instances of the standard library hold is its own: a network of one address has a function of its own.
        if type(value).__module__ == models.__name__ and not isinstance(value, enum.Enum):
            left += getattr(value, "__dict__", {}).values()


# -- what is tried

#: Each pushes one value, or changes what stands there.
_PIECES: list[Callable[[random.Random, int], bytes]] = [
    lambda rng, memo: a.NONE,
    lambda rng, memo: a.small(rng.randrange(256)),
    lambda rng, memo: a.long(rng.getrandbits(rng.choice((16, 61, 130, 9000)))),
    lambda rng, memo: b"G" + rng.randbytes(8),
    lambda rng, memo: a.text(rng.choice(("", "1", "-1.5", "RED", "name", "UTC", "1e9", "10.0.0.0/8", "x" * 35, "list"))),
    lambda rng, memo: a.raw(rng.randbytes(rng.choice((0, 1, 10, 11, 16)))),
    lambda rng, memo: a.name(rng.choice(NAMES)),
    lambda rng, memo: a.get(1) + a.text(rng.choice(NAMES).replace(".", "/")) + b"\x93\x94",
    lambda rng, memo: a.get(rng.randrange(memo + 1)),
    lambda rng, memo: rng.choice((a.LIST, a.DICT, a.SET, a.EMPTY_TUPLE)),
    lambda rng, memo: rng.choice((a.TUPLE1, a.TUPLE2, a.TUPLE3, a.TUPLE, a.FROZENSET)),
    lambda rng, memo: rng.choice((a.REDUCE, a.REDUCE, a.APPLY, b"R0", b"\x86R")),
    lambda rng, memo: rng.choice((a.APPEND, a.APPENDS, a.SETITEM, a.SETITEMS, a.ADDITEMS)),
    lambda rng, memo: rng.choice((a.MARK, a.MARK, a.POP, a.POP_MARK, a.MEMOIZE)),
    lambda rng, memo: a.EMPTY_TUPLE + a.REDUCE + a.get(rng.randrange(memo + 1)) + a.get(rng.randrange(memo + 1)) + a.MARK,
    lambda rng, memo: bytes((rng.randrange(256),)),
]  # fmt: skip


def near_grammar(rng: random.Random) -> bytes:
    """Return a segment of pieces that each fit the grammar, in an order that rarely does."""
    memo, parts = 0, []
    for _piece in range(rng.choice((3, 6, 12, 25, 60))):
        part = rng.choice(_PIECES)(rng, memo)
        memo += part.count(a.MEMOIZE)
        parts.append(part)
    return a.segment(*parts)


_KNOWN = [*REAL, *ATTACKS.values(), *techniques.REFUSED.values(), *techniques.CONTAINERS.values()]
_KNOWN = [known for known in _KNOWN if 0 < len(known) < 2000]


def mutated(rng: random.Random) -> bytes:
    """Return a known segment with parts changed, removed, doubled or taken from another one."""
    data = bytearray(rng.choice(_KNOWN))
    for _change in range(rng.choice((1, 1, 2, 4, 8))):
        start = rng.randrange(len(data) + 1)
        other = rng.choice(_KNOWN)
        begin = rng.randrange(len(other))
        data[start : start + rng.randrange(4)] = rng.choice(
            (b"", rng.randbytes(1), other[begin : begin + rng.randrange(12)], rng.choice(_PIECES)(rng, 20))
        )
        if not data:
            break
    return bytes(data)


def search(seed: int, is_over: Callable[[int], bool]) -> tuple[int, int]:
    """Try made and mutated bytes.

    :param seed: of the random generator.
    :param is_over: how many were tried -> whether that is enough.
    :return: how many were tried, and how many of them were accepted.
    :raises Broken: at the first one that breaks the oracle; it is kept in the current folder.
    """
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    tried = accepted = 0
    while not is_over(tried):
        data = rng.choice((near_grammar, mutated, mutated, test_cycles.program))(rng)
        accepted += _kept_if_broken(data)
        tried += 1
        if sys.stderr.isatty() and tried % 5000 == 0:
            sys.stderr.write(f"\r{tried} tried, {accepted} accepted")
    return tried, accepted


def _kept_if_broken(data: bytes) -> bool:
    try:
        return check(data)
    except BaseException:
        Path(f"broken-{sha256(data).hexdigest()[:16]}").write_bytes(data)
        raise


def guided(seconds: int, folder: Path) -> None:
    """Let atheris choose the bytes, by the branches of the package that they reach.

    :param folder: where it keeps the bytes that reached new ones.
    """
    import atheris

    for module in ("verifier", "cycles", "guards", "restorers", "records", "serializer", "unpickler"):
        _instrument(atheris, sys.modules[f"flask_picklesession.pickling.{module}"])
    folder.mkdir(parents=True, exist_ok=True)
    for number, known in enumerate(_KNOWN):
        (folder / f"known-{number}").write_bytes(known)
    atheris.Setup(
        [
            sys.argv[0],
            str(folder),
            f"-max_total_time={seconds}",
            "-max_len=2000",
            "-timeout=30",
            "-print_final_stats=1",
        ],
        lambda data: _kept_if_broken(data) and None,
    )
    atheris.Fuzz()


def _instrument(atheris: Any, module: Any) -> None:
    for holder in [module, *(found for found in vars(module).values() if isinstance(found, type))]:
        for name, found in list(vars(holder).items()):
            if type(found) is type(_instrument) and found.__module__ == module.__name__:
                setattr(holder, name, atheris.instrument_func(found))


def main() -> None:
    """Search for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--guided", type=Path, metavar="FOLDER", help="let atheris choose; keep its finds in FOLDER")
    options = parser.parse_args()
    if options.guided:
        guided(options.seconds, options.guided)
        return
    deadline = time.monotonic() + options.seconds
    tried, accepted = search(options.seed, lambda _tried: time.monotonic() > deadline)
    print(f"seed {options.seed}: {tried} tried, {accepted} accepted, none broke the oracle")


if __name__ == "__main__":
    main()
