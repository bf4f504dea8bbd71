"""redis-py, with one try, short timeouts and a breaker, and errors that hold nothing of what was asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from .._check import shown
from .._extras import needed
from ..exceptions import ConfigError, StoreError
from ._breaker import Breaker
from ._values import seconds


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from urllib.parse import SplitResult


__all__ = ["Client"]


_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_DATABASE: Final = re.compile(r"/?[0-9]*")

# In a URL these would win over what is passed beside it, and the promises about time would not hold.
_OURS: Final = frozenset(
    {"socket_timeout", "socket_connect_timeout", "timeout", "retry_on_timeout", "retry_on_error"}
    | {"health_check_interval", "protocol", "decode_responses", "legacy_responses"}
)

# By name, because redis-py is imported late. What is not here is shown by its name alone: a server's message
# may repeat what it was asked.
_REASONS: Final = {
    "AuthenticationError": "does not accept the user or password of the URL",
    "BusyLoadingError": "is still reading its data from disk",
    "ConnectionError": "cannot be reached, or closed the connection",
    "MaxConnectionsError": "is asked by more threads at once than there are connections (100)",
    "NoPermissionError": "does not let this user do what the store needs (EVAL, and its keys)",
    "OutOfMemoryError": "is full (maxmemory)",
    "ReadOnlyError": "is a read-only replica",
    "TimeoutError": "did not answer in time",
}


class Client:
    """A connection pool to one server, for any number of threads; safe to use after a fork.

    Args:
        url: Of the server.
        timeout: Seconds to wait for a connection, and again for each answer.
        clock: Of the breaker.

    Attributes:
        shown: The URL without user, password and options.

    Raises:
        ConfigError: if the URL or the timeout cannot be used, or redis-py is missing.
    """

    def __init__(self, url: str, *, timeout: float, clock: Callable[[], float]) -> None:
        self.shown = _checked(url)
        self._redis = needed("redis", "redis", "RedisStore needs the package redis")
        self._breaker = Breaker(clock)
        self._client: Any = self._connected(url, seconds("RedisStore(timeout=...)", timeout))

    def _connected(self, url: str, timeout: float) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # RESP2: RESP3 begins with a round trip more, and lets the server ask for longer timeouts.
        options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "protocol": 2,
        }
        try:
            return self._redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
        except (TypeError, ValueError):
            raise ConfigError(
                f"The options in RedisStore({self.shown!r}) after `?` cannot be used."
            ) from None

    def ask(self, *command: str | bytes | float) -> Any:
        """The answer to *command*.

        Raises:
            StoreError: if there is none in time, or if it is an error.
        """
        return self._asked(lambda client: client.execute_command(*command))

    def ask_together(self, *commands: Sequence[str]) -> list[Any]:
        """As :meth:`ask`, for commands that nobody else's come between."""
        answers: list[Any] = self._asked(lambda client: _together(client, commands))
        return answers

    def run(self, script: str, keys: Sequence[str], values: Sequence[str | bytes | float]) -> Any:
        """As :meth:`ask`, for a script, which is sent along."""
        return self.ask("EVAL", script, len(keys), *keys, *values)

    def _asked(self, question: Callable[[Any], Any]) -> Any:
        if self._client is None:
            raise StoreError(f"The store on {self.shown} is closed. Open another one.")
        if not self._breaker.admits():
            raise StoreError(
                f"{self.shown} has not answered three times, and is asked again in 5 seconds at most."
            )
        try:
            answer = question(self._client)
        except (self._redis.RedisError, OSError) as exc:
            self._note(exc)
            raise self._explained(exc) from None
        self._breaker.succeeded()
        return answer

    def _note(self, exc: Exception) -> None:
        if isinstance(exc, (self._redis.ConnectionError, self._redis.TimeoutError, OSError)):
            self._breaker.failed()
        else:
            self._breaker.succeeded()  # what it said is no good, but it is there

    def _explained(self, exc: Exception) -> StoreError:
        names = (kind.__name__ for kind in type(exc).__mro__)
        reason = next((_REASONS[name] for name in names if name in _REASONS), None)
        return StoreError(f"{self.shown} {reason or f'refused with {type(exc).__name__}'}.")

    def close(self) -> None:
        """Close what is idle; harmless if repeated."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _together(client: Any, commands: Sequence[Sequence[str]]) -> list[Any]:
    with client.pipeline(transaction=True) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = pipeline.execute()
    return answers


def _checked(url: str) -> str:
    """*url*, fit to be shown.

    Raises:
        ConfigError: if it is none of a Redis server, or has options that the store sets itself.
    """
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except (TypeError, ValueError, AttributeError):
        raise ConfigError("RedisStore(url) must be a URL: redis://host:port/database.") from None
    # Not by parts.scheme, which is in lower case in any case: redis-py wants it so in the URL itself.
    if not str(url).startswith(_SCHEMES):
        raise ConfigError("RedisStore(url) must begin with redis://, rediss:// (TLS) or unix:// (a socket).")
    options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    _check_whole(parts, options)
    _check_options(options)
    return f"{parts.scheme}://{place}"


def _check_whole(parts: SplitResult, options: Sequence[str]) -> None:
    # redis-py takes no notice of what is out of place here, and it may be the rest of a password.
    is_socket = parts.scheme == "unix"
    fits = parts.netloc[-1:] in {"", "@"} if is_socket else _DATABASE.fullmatch(parts.path)
    if not fits or parts.fragment or any("@" in name for name in options):
        raise ConfigError(
            "RedisStore(url) must be redis://user:password@host:port/number or unix://user:password@/path. "
            "In a password write `/` as %2F, `?` as %3F, `#` as %23 and `@` as %40."
        )


def _check_options(names: Sequence[str]) -> None:
    ours = sorted(_OURS.intersection(names))
    if ours:
        raise ConfigError(
            f"Leave `{shown(ours[0])}` out of the URL: RedisStore has timeout=..., and sets the rest itself."
        )
