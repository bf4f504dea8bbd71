"""A client made of a bare socket, which sees what a server does byte by byte."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from doubles import reply


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .scripted import Scripted


BODY = b'{"model": "m"}'
REQUEST = b"POST /v1/chat/completions?a=1 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
SAID = reply(200, {"said": 1})

#: Seconds after which what must not come has not come.
A_WHILE = 0.05


def connect(server: Scripted) -> socket.socket:
    """A connection on which nothing was sent."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


@contextmanager
def asking(server: Scripted, request: bytes = REQUEST) -> Iterator[socket.socket]:
    """A connection on which *request* was sent."""
    with closing(connect(server)) as sock:
        sock.sendall(request)
        yield sock


def the_rest(sock: socket.socket) -> tuple[bytes, str]:
    """All that comes, and what ends it: ``fin`` or ``rst``."""
    heard = b""
    try:
        while data := sock.recv(65536):
            heard += data
    except ConnectionResetError:
        return heard, "rst"
    return heard, "fin"


def said_by(server: Scripted) -> tuple[bytes, str]:
    """What comes of a request on a connection of its own."""
    with asking(server) as sock:
        return the_rest(sock)


def exactly(sock: socket.socket, size: int) -> bytes:
    """The next *size* bytes."""
    heard = b""
    while len(heard) < size:
        data = sock.recv(size - len(heard))
        assert data, f"it ended after {heard!r}"
        heard += data
    return heard


def head_of(sock: socket.socket) -> bytes:
    """The head of an answer, with its empty line."""
    heard = b""
    while not heard.endswith(b"\r\n\r\n"):
        heard += exactly(sock, 1)
    return heard


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing comes for a while."""
    patience = sock.gettimeout()
    sock.settimeout(A_WHILE)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(patience)
    return False


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until *holds*, as :func:`standing.until` does where there is a loop."""
    while not holds():
        threading.Event().wait(0.001)
