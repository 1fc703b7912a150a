"""Print all tables."""

from __future__ import annotations

from . import requests, serializer

if __name__ == "__main__":
    serializer.main()
    requests.main()
