"""Name secret keys that can be guessed. What a key holds is never part of a message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .exceptions import ConfigurationError

#: Bytes below which a key is named: OWASP ASVS 5.0 (11.2.3) asks for 128 bits of security.
SHORTEST_SECRET = 16

#: What tutorials, documentation and templates use. The two long ones stand in Flask's documentation.
EXAMPLE_SECRETS = frozenset(
    {
        *("dev", "development", "secret", "secret key", "secret-key", "secret_key", "secretkey", "supersecret"),
        *("super secret key", "super-secret", "supersecretkey", "changeme", "change me", "change-me", "change_me"),
        *("password", "key", "test", "testing", "insecure", "you-will-never-guess", "hard to guess string"),
        *("your-secret-key", "your_secret_key", "your secret key", "mysecretkey", "my_secret_key", "my secret key"),
        *("your-secret-key-here", "replace-me", "thisisasecret", "this is a secret", "not-a-secret", "CHANGE_ME"),
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        '_5#y2L"F4Q8z\n\xec]/',
    }
)


def secret_keys(config: Mapping[str, Any], secret_key: str | bytes) -> tuple[str | bytes, ...]:
    """Return the secret keys of an application, oldest to newest: the last one signs, all verify.

    As itsdangerous wants it: Flask had it the other way round once (GHSA-4grg-w6v8-c28g).

    :raises ConfigurationError: if one of them cannot be used: see :func:`key_problems`.
    """
    problems = list(key_problems(config, secret_key))
    if problems:
        raise ConfigurationError(problems)
    return (*(config.get("SECRET_KEY_FALLBACKS") or ()), secret_key)


def key_problems(config: Mapping[str, Any], secret_key: object) -> Iterator[str]:
    """Yield a sentence for each secret key that is none, and for fallbacks that are not a list of keys.

    Each character of a str would be a fallback. No key at all is no problem here: Flask's null session explains itself.
    """
    if secret_key:
        yield from _key_problem("SECRET_KEY", secret_key)
    fallbacks = config.get("SECRET_KEY_FALLBACKS") or ()
    if not isinstance(fallbacks, list | tuple) or not all(isinstance(key, str | bytes) and key for key in fallbacks):
        yield "SECRET_KEY_FALLBACKS must be a list of secret keys, each a str or bytes, none empty."
        return
    for position, key in enumerate(fallbacks):
        yield from _key_problem(f"SECRET_KEY_FALLBACKS[{position}]", key)


def _key_problem(name: str, key: object) -> Iterator[str]:
    if not isinstance(key, str | bytes):
        yield f"{name} must be a str or bytes. {_FIX}"
    elif isinstance(key, str) and not key.isascii() and _SURROGATE.search(key):
        yield f"{name} holds bytes that are no UTF-8, as of an environment variable. {_FIX}"


def weak_keys(secrets: Sequence[str | bytes]) -> Iterator[str]:
    """Yield a sentence for each secret key that can be guessed.

    :param secrets: the secret keys, oldest to newest: the last one is ``SECRET_KEY``.
    """
    for position, secret in enumerate(secrets):
        name = "SECRET_KEY" if position == len(secrets) - 1 else f"SECRET_KEY_FALLBACKS[{position}]"
        text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
        if text.lower() in EXAMPLE_SECRETS or text in EXAMPLE_SECRETS:
            yield f"{name} is one that examples use, and known to everybody. {_FIX}"
        elif len(secret) < SHORTEST_SECRET:
            yield f"{name} has {len(secret)} characters, and at least {SHORTEST_SECRET} are needed. {_FIX}"
        elif len(set(text)) <= 2:
            yield f"{name} repeats the same character. {_FIX}"


# Stands for a byte that could not be decoded, and cannot be encoded again.
_SURROGATE = re.compile("[\ud800-\udfff]")

_FIX = "Make one: python -c 'import secrets; print(secrets.token_hex())'"
