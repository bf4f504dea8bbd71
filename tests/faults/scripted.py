"""A server on the loopback that does what its script says, byte by byte, and remembers what it was sent."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from .steps import AtAccept, Ok, Steps
from .wire import Over, Request, Wire


if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Self

    from .steps import Step


class Scripted:
    """A server with a script, and a thread for each connection.

    Steps are dealt in the order in which requests come in, whatever their connections; ``AtAccept`` steps to the
    connection that is accepted when it is their turn. Use it as a context manager, or ``close()`` it.

    Args:
        script: A step, a list of steps for one request after the other (the last repeats), or a function that
            is given each request, one at a time, and returns a step, or a list of steps to be played in a row.
        tls: What the server identifies itself with.
        name: What messages call it.
        key: The credential that its clients use; no other server may ever see it.

    Attributes:
        requests: Those that were read whole, in order.
        connections: How many were accepted, ever.
        canaries: What no other server may ever see: the key, to begin with.
        refused: What went wrong with TLS handshakes: a client that does not trust the certificate, say.
        troubles: What went wrong in the script itself; ``close()`` raises the first.
    """

    def __init__(
        self,
        script: Any = None,
        tls: ssl.SSLContext | None = None,
        *,
        name: str = "target",
        key: str = "sk-target",
    ) -> None:
        self.name = name
        self.key = key
        self.canaries = [key]
        self.requests: list[Request] = []
        self.refused: list[OSError] = []
        self.troubles: list[Exception] = []
        self._tls = tls
        self._script: Any = Ok() if script is None else script
        self._turn = 0
        self._wires: list[Wire] = []
        self._threads: list[threading.Thread] = []
        self._open: set[Wire] = set()
        self._changed = threading.Condition()  # by default reentrant
        self._released = threading.Event()
        self._halt = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def __repr__(self) -> str:
        return (
            f"<{self.name}: {len(self.requests)} requests, {self.connections} connections, {self.open} open>"
        )

    # --- what is remembered ------------------------------------------------

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self.at("127.0.0.1")

    def at(self, host: str) -> str:
        """The origin under another name for this machine."""
        return f"http{'' if self._tls is None else 's'}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were accepted, ever."""
        return len(self._wires)

    @property
    def open(self) -> int:
        """How many connections are open: those that neither the client has closed nor the script has reset."""
        return len(self._open)

    @property
    def bytes(self) -> bytes:
        """Everything that ever came in, one connection after the other; of TLS what was inside."""
        return b"\n".join(bytes(wire.heard) for wire in [*self._wires])

    # --- what a test does --------------------------------------------------

    def then(self, script: Any) -> None:
        """From the next request on, *script*, from its beginning."""
        with self._changed:
            self._script, self._turn = script, 0

    def release(self) -> None:
        """End every ``Silence`` that waits for this, and those to come."""
        self._released.set()

    def wait_closed(self, timeout: float = 5.0) -> bool:
        """Wait until no connection is open; false if *timeout* seconds were not enough.

        Blocks: where a client needs its event loop in order to hang up, look at :meth:`closed` from there.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (closed := self.closed()) and time.monotonic() < deadline:
                self._changed.wait(0.01)
        return closed

    def closed(self) -> bool:
        """Whether no connection is open or about to be, after all that stands in the way of FIN was let in."""
        with self._changed:
            for wire in self._open:
                wire.thirsty.set()
            return not self._open and not self._is_asked(0)

    def close(self) -> None:
        """End all connections and threads.

        Raises:
            Exception: what a step of the script raised, if one did.
        """
        self._halt.set()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            """Wakes the thread that accepts."""
        for thread in self._threads:
            while thread.is_alive():
                for wire in [*self._open]:
                    wire.interrupt()
                thread.join(0.05)
        if self.troubles:
            raise self.troubles[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except Exception:
            if kind is None:  # else what the test says itself comes first
                raise

    # --- at work -----------------------------------------------------------

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name=f"{self.name}-{work.__name__}")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while self._is_asked() and not self._halt.is_set():
                # Between the accepting and the counting nobody may ask whether all is closed.
                with self._changed:
                    sock, _ = self._listener.accept()
                    wire = Wire(sock, len(self._wires) + 1, self._halt, self._released)
                    self._wires.append(wire)
                    self._open.add(wire)
                self._spawn(self._serve, wire)

    def _is_asked(self, wait: float | None = None) -> bool:
        """Whether a connection waits to be accepted."""
        poll = select.poll()
        if (number := self._listener.fileno()) >= 0:
            poll.register(number, select.POLLIN)
        return bool(poll.poll(wait))

    def _serve(self, wire: Wire) -> None:
        try:
            self._talk(wire)
        except (Over, OSError):
            """As the script or the client wanted it."""
        except Exception as exc:
            self.troubles.append(exc)
        wire.close()
        with self._changed:
            self._open.discard(wire)
            self._changed.notify_all()

    def _talk(self, wire: Wire) -> None:
        if (first := self._at_accept()) is not None:
            first.play(wire, None)
        if self._tls is not None:
            self._secure(wire, self._tls)
        while (request := wire.request()) is not None:
            self._next(request).play(wire, request)
            if not wire.answered:
                wire.hangup()

    def _secure(self, wire: Wire, tls: ssl.SSLContext) -> None:
        try:
            wire.secure(tls)
        except OSError as exc:
            self.refused.append(exc)
            raise Over from exc

    def _at_accept(self) -> AtAccept | None:
        with self._changed:
            step = None if callable(self._script) else self._dealt()
            if not isinstance(step, AtAccept):
                return None
            self._turn += 1
            return step

    def _next(self, request: Request) -> Step:
        with self._changed:
            self.requests.append(request)
            step: Any = self._script(request) if callable(self._script) else self._dealt()
            self._turn += 1
        return cast("Step", Steps(*step) if isinstance(step, (list, tuple)) else step)

    def _dealt(self) -> Any:
        if not isinstance(self._script, (list, tuple)):
            return self._script
        return self._script[min(self._turn, len(self._script) - 1)]
