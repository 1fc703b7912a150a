"""Never run, only type-checked: how users write against the public names."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, session

from flask_picklesession import (
    AllowList,
    PickleSerializer,
    PickleSession,
    PickleSessionInterface,
    Session,
    TypeRefusedError,
    session_rejected,
)

allow = AllowList()


@allow
@dataclass
class Cart:
    items: list[str]


@allow(name="size", aliases=["old:Size"])
class Size(enum.Enum):
    SMALL = 1


cart: Cart = Cart(["x"])
size: Size = Size.SMALL
point: type[Cart] = allow(Cart, fields=("items",))
allow.convert(bytearray, str)

app = Flask(__name__)
app.config["PICKLESESSION_ALLOW"] = allow
app.session_interface = PickleSessionInterface()
sessions = PickleSession(app)
sessions.init_app(app)

payload: bytes = PickleSerializer(allow).dumps({"cart": cart})
mapping: dict[str, object] = PickleSerializer([Cart, "shop:Money"]).loads(payload)


def view(current: Session) -> None:
    handle: str | None = current.handle
    created: datetime | None = current.created_at
    quarantined: dict[str, str] = current.quarantined
    current.regenerate()
    current.rollback()
    current.destroy()
    print(handle, created, quarantined, session)


def refused(error: TypeRefusedError) -> tuple[str, str, str, str]:
    return error.path, error.reason, error.fix, error.type_name


session_rejected.connect(view)
