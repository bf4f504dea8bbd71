"""Keeps tests from reaching other machines, without touching ``socket``.

Python tells its audit hooks about every name that is looked up and every connection that is begun, on any
event loop that is built on its sockets (asyncio and trio are; uvloop looks names up and connects by itself). A hook
cannot be taken away again, so there is one for the process, added when it is first needed, which does nothing
between tests.
Listening, ``socketpair()``, Unix sockets and this machine are never in its way.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


__all__ = ["Guard"]


_ALL: Final = "*"
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class Guard:
    """Refuses connections.

    Args:
        allowed: Globs of hosts that may be reached besides this machine, as they are asked for: by name or by
            address.
        raising: Makes what is raised in the place of a connection.

    Attributes:
        allowed: As given, and may be changed.
        refused: Globs of the others that may not be reached, ``*`` by default; narrower while a cassette replays,
            so that nobody gets past it to those whom it answers for. May be changed.
    """

    def __init__(self, allowed: Sequence[str], raising: Callable[[str], BaseException]) -> None:
        self.allowed = [*allowed]
        self.refused = [_ALL]
        self._raising = raising
        self._names: set[str] = set()
        self._addresses: set[str] = set()
        self._own = threading.local()

    @contextmanager
    def during(self, test: str) -> Generator[None]:
        """Refuse while *test* runs, in all threads."""
        _listen()
        outer = _Active.guard, _Active.test
        _Active.guard, _Active.test = self, test
        try:
            yield
        finally:
            _Active.guard, _Active.test = outer
            self._names.clear()
            self._addresses.clear()

    def looked_up(self, host: str) -> None:
        """Somebody asks for the addresses of *host*. Those of a name that is allowed may be reached from now on."""
        if getattr(self._own, "asks", False) or _is_address(host) or _is_here(host):
            return
        if not self._is_allowed(host):
            self._refuse(host)
        if _ALL in self.refused:
            self._names.add(host)
            self._learn(host)

    def connected(self, host: str) -> None:
        """Somebody wants to reach *host*, a name or an address."""
        if _is_here(host) or host in self._addresses or self._is_allowed(host):
            return
        for name in [*self._names]:  # they may have got other addresses than this guard
            self._learn(name)
        if host not in self._addresses:
            self._refuse(host)

    def _is_allowed(self, host: str) -> bool:
        return _matches(host, self.allowed) or not _matches(host, self.refused)

    def _learn(self, name: str) -> None:
        self._own.asks = True
        try:
            with suppress(OSError):
                self._addresses |= {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
        finally:
            self._own.asks = False

    def _refuse(self, host: str) -> None:
        others = f" and {', '.join(self.allowed)}" if self.allowed else ""
        only = f"and only this machine{others} may be reached. Answer the call from a cassette"
        past = "past its cassette, which has to answer. Make the call by a client that wrap() has made"
        why = only if _ALL in self.refused else past
        raise self._raising(
            f"respan: {_Active.test} wants to reach {host!r}, {why}, or let it through with "
            f"--respan-allow-hosts={host}."
        )


def _matches(host: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(host.lower(), glob.lower()) for glob in globs)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    """Whether *host* is this machine; the unspecified address is, for who connects."""
    if not _is_address(host):
        name = host.lower().rstrip(".")
        return name in {"", "localhost", socket.gethostname().lower()} or name.endswith(".localhost")
    address = ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


# -- the hook


class _Active:
    """What the process's hook asks."""

    guard: Guard | None = None
    test = ""
    is_listening = False


def _listen() -> None:
    if not _Active.is_listening:
        _Active.is_listening = True
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    guard = _Active.guard
    if guard is None or event not in _EVENTS:
        return
    host = _EVENTS[event](args)
    if host is not None and event == "socket.connect":
        guard.connected(host)
    elif host is not None:
        guard.looked_up(host)


def _host_of_connect(args: tuple[Any, ...]) -> str | None:
    sock, address = args
    return str(address[0]) if sock.family in _INTERNET else None


def _host_of_lookup(args: tuple[Any, ...]) -> str | None:
    host = args[0]
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host


_EVENTS: Final[dict[str, Callable[[tuple[Any, ...]], str | None]]] = {
    "socket.connect": _host_of_connect,
    "socket.getaddrinfo": _host_of_lookup,
}
