"""One accepted connection, read and written byte by byte.

1. ``Over`` ends the thread of a connection, wherever it stands; nothing else does.
2. Whoever waits here keeps listening, so a client that hangs up is noticed during every wait.
"""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from dataclasses import dataclass
from typing import Any

from doubles import Seen, _read_request


#: Seconds between two looks at an ``Event`` that somebody waits for.
GLANCE = 0.01

#: What can be waited for: a number of seconds, or an event.
Until = float | threading.Event

_CORK = getattr(socket, "TCP_CORK", None)  # Linux; elsewhere FIN comes in a segment of its own


class Over(Exception):  # noqa: N818 -- an end, not an error
    """The connection has ended: by the script, by the client, or because the server closes."""


@dataclass
class Request(Seen):
    """One request: its bytes and parts as ``Seen`` has them, the connection it came on, and when."""

    #: Number of the connection, 1 for the first that the server accepted.
    connection: int
    #: Monotonic time at which its last byte was read.
    at: float


class Wire:
    """A connection as steps see it: ``send``, ``pause``, ``hangup``, ``reset``."""

    def __init__(
        self, sock: socket.socket, number: int, halt: threading.Event, released: threading.Event
    ) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.number = number
        #: Everything that came in: decrypted, and of TLS its first packet, which names the host in clear.
        self.heard = bytearray()
        #: Set by the server's ``release()``.
        self.released = released
        #: Whether anything was sent since the newest request.
        self.answered = False
        #: Ends the slow reading of :meth:`sip`.
        self.thirsty = threading.Event()
        self._halt = halt
        self._untaken = bytearray()

    # --- reading -----------------------------------------------------------

    def secure(self, context: ssl.SSLContext) -> None:
        """The server's side of a handshake.

        Raises:
            OSError: if the client refuses it.
        """
        self.heard += self.sock.recv(65536, socket.MSG_PEEK)
        self.sock = secured = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        secured.do_handshake()

    def request(self) -> Request | None:
        """The next request, whole; ``None`` if none comes, or only a part of one, or something else."""
        try:
            seen = _read_request(self)
        except ValueError:
            return None
        if seen is None or len(seen.body) < int(seen.headers.get("content-length", 0)):
            return None
        self.answered = False
        return Request(**vars(seen), connection=self.number, at=time.monotonic())

    def readline(self) -> bytes:
        """As a file's; short at the end of the connection."""
        while (end := self._untaken.find(b"\n") + 1) == 0:
            if not self._receive():
                end = len(self._untaken)
                break
        return self._take(end)

    def read(self, size: int) -> bytes:
        """As a file's; short at the end of the connection."""
        while len(self._untaken) < size and self._receive():
            pass
        return self._take(min(size, len(self._untaken)))

    def sip(self, size: int, every: float) -> None:
        """Let *size* bytes in every so many seconds, so that the others fill up the client's side.

        Goes on until ``thirsty`` is set: FIN stands behind all those bytes, so whoever asks whether the
        client has hung up must have them read.

        Raises:
            Over: when the client has hung up.
        """
        while self._receive(size=65536 if self.thirsty.is_set() else size):
            self._untaken.clear()
            self.thirsty.wait(every)
        raise Over

    def _take(self, size: int) -> bytes:
        taken = bytes(self._untaken[:size])
        del self._untaken[:size]
        return taken

    def _receive(self, wait: float | None = None, size: int = 65536) -> bool:
        """Take in what comes next; false at the end of the connection.

        Raises:
            TimeoutError: if nothing comes within *wait* seconds.
        """
        try:
            self.sock.settimeout(wait)
            data = self.sock.recv(size)
        except TimeoutError:
            raise
        except OSError:
            return False
        self.heard += data
        self._untaken += data
        return bool(data)

    # --- writing and waiting -----------------------------------------------

    def send(self, data: bytes) -> None:
        """Write *data*.

        Raises:
            Over: if the client has hung up.
        """
        self.answered = True
        try:
            self.sock.settimeout(None)
            self.sock.sendall(data)
        except OSError as exc:
            raise Over from exc

    def pause(self, until: Until) -> None:
        """Say nothing for a number of seconds, or until an event is set.

        Raises:
            Over: as soon as the client hangs up or the server closes.
        """
        done, wait = _watch(until)
        while not done():
            self.listen(wait())

    def listen(self, seconds: float) -> None:
        """Wait for something to come in.

        Raises:
            Over: as :meth:`pause`.
        """
        try:
            alive = self._receive(max(seconds, 0.0001))
        except TimeoutError:
            alive = True
        if not alive or self._halt.is_set():
            raise Over

    # --- ending ------------------------------------------------------------

    def hangup(self, last: bytes = b"", *, notify: bool = False) -> None:
        """Send *last* and FIN, in one segment where they fit, and stay until the client has hung up too.

        What the client still sends is heard but not read as requests. So FIN is all that the client sees; a
        socket that is closed at once would answer what comes late with RST.

        Args:
            last: The last bytes.
            notify: Over TLS, say ``close_notify`` first. Without it a TLS client can tell a cut from an end.

        Raises:
            Over: always.
        """
        self._cork(on=True)
        if last:
            self.send(last)
        if notify:
            self._notify()
        _shutdown(self.sock, socket.SHUT_WR)
        self._cork(on=False)
        while self._receive():
            self._untaken.clear()
        raise Over

    def reset(self) -> None:
        """RST, after everything sent before it has arrived.

        Raises:
            Over: always.
        """
        while self._unsent():
            self.listen(0.001)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Over

    def interrupt(self) -> None:
        """End it from another thread: whoever reads, writes or waits here is told."""
        self.thirsty.set()
        _shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self.sock.close()

    def _notify(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            try:
                self.sock.unwrap()
            except OSError:
                """It is said; the client's own close_notify is not waited for."""
            self.sock = socket.socket(fileno=self.sock.detach())

    def _unsent(self) -> int:
        waiting = fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(waiting, "little")

    def _cork(self, *, on: bool) -> None:
        if _CORK is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, _CORK, on)


def _watch(until: Until) -> tuple[Any, Any]:
    if isinstance(until, (int, float)):
        end = time.monotonic() + until
        return lambda: time.monotonic() >= end, lambda: end - time.monotonic()
    return until.is_set, lambda: GLANCE


def _shutdown(sock: socket.socket, how: int) -> None:
    try:
        # Not the method of an SSLSocket, which forgets its keys while another thread may be reading with them.
        socket.socket.shutdown(sock, how)
    except OSError:
        """The client was faster."""
