"""Name secret keys that can be guessed. What a key holds is never part of a message."""

from __future__ import annotations

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

    :raises ConfigurationError: if the key is none, or the fallbacks are not a list of keys: each character of a str
        would be one.
    """
    if not isinstance(secret_key, str | bytes):
        raise ConfigurationError([f"SECRET_KEY must be a str or bytes. {_FIX}"])
    fallbacks = config.get("SECRET_KEY_FALLBACKS") or ()
    if not isinstance(fallbacks, list | tuple) or not all(isinstance(key, str | bytes) and key for key in fallbacks):
        raise ConfigurationError(
            ["SECRET_KEY_FALLBACKS must be a list of secret keys, each a str or bytes, none empty."]
        )
    return (*fallbacks, secret_key)


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


_FIX = "Make one: python -c 'import secrets; print(secrets.token_hex())'"
