"""Print all tables."""

from __future__ import annotations

from . import hostile, requests, saves, serializer, worst

if __name__ == "__main__":
    serializer.main()
    requests.main()
    saves.main()
    hostile.main()
    worst.main()
