"""Addresses that no connection comes of: refused, swallowed, and a name without an address."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


#: A host that has no address, anywhere and for ever (RFC 2606, section 2).
UNRESOLVABLE = "nobody.invalid"


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that answers every SYN with RST: taken, so that nobody else listens there, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def swallowed_port() -> Iterator[int]:
    """A port that answers no SYN at all: its backlog is full, and nobody ever accepts."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        while _fits(held.enter_context(socket.socket()), address):
            """Until the first that does not."""
        yield address[1]


def _fits(sock: socket.socket, address: Any) -> bool:
    sock.setblocking(False)
    sock.connect_ex(address)
    return bool(select.select([], [sock], [], 0.1)[1])


def resolve(monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> None:
    """Let each of *hosts* have these addresses, in this order; none, if the list is empty.

    An underscore stands for a dot. Asked of the system, a name without an address may take as long as its
    resolvers please.
    """
    known = {host.replace("_", "."): addresses for host, addresses in hosts.items()}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in known:
            return real(host, port, *args, **kwargs)
        if not known[name]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in known[name] for found in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
