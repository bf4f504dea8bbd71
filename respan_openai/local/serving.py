"""Putting a ``LocalGateway`` on a socket: which addresses it may have, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._extras import needed
from ..exceptions import ConfigError
from .server import Server
from .visitors import is_loopback


if TYPE_CHECKING:
    from collections.abc import Callable

    from .asgi import Receive, Scope, Send
    from .server import Served


__all__ = ["HOST", "PORT", "listen", "serve"]


HOST: Final = "127.0.0.1"
PORT: Final = 8010
STOP_SECONDS: Final = 30

_BACKLOG: Final = 2048

_REASONS: Final = {
    errno.EADDRINUSE: "is in use by another program. Stop that one, or choose another port",
    errno.EADDRNOTAVAIL: "is no address of this machine. Name one that it has, such as 127.0.0.1",
    errno.EACCES: "may not be used by this user. Choose a port from 1024 on",
}


def serve(
    gateway: Served,
    host: str = HOST,
    port: int = PORT,
    *,
    stop_seconds: int = STOP_SECONDS,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve *gateway* over HTTP until it is stopped (Ctrl-C, SIGTERM).

    Calls under way may then go on for *stop_seconds*; a second Ctrl-C ends them at once. There is no TLS:
    keys and prompts beyond this machine need a proxy in front that has it.

    Args:
        gateway: With ``api_keys``, if *host* is more than loopback.
        host: Name or address to listen on; every address that a name resolves to.
        port: From 0 to 65535; 0 is any that is free.
        stop_seconds: For calls under way when it is stopped.
        announce: Told where the gateway is, once it can be called and stopped; it answers when this returns.

    Raises:
        ConfigError: if uvicorn is not installed (``pip install 'respan-openai[server]'``), the gateway has no
            keys and others could reach it, or the port cannot be had.
    """
    uvicorn = needed("uvicorn", "server", "Serving needs uvicorn")
    sockets = listen(host, port, loopback_only=gateway.accepts_anyone)
    try:
        where = _where(host, sockets[0].getsockname()[1], is_open=gateway.accepts_anyone)
        application = _Quiet(Server(gateway, hosts=(host,)))
        announcing = _announcing(uvicorn, partial(announce, where))
        server = announcing(_settings(uvicorn, application, stop_seconds))
        with suppress(KeyboardInterrupt):  # which uvicorn raises again once everything has come to its end
            server.run(sockets)
    finally:
        for each in sockets:
            each.close()


def _settings(uvicorn: Any, application: _Quiet, stop_seconds: int) -> Any:
    return uvicorn.Config(
        application,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        # What a proxy says about addresses is of no use here.
        proxy_headers=False,
        timeout_graceful_shutdown=stop_seconds,
    )


def _announcing(uvicorn: Any, announce: Callable[[], object]) -> Any:
    class Announcing(uvicorn.Server):  # type: ignore[misc]
        """Says when it has begun. At the second Ctrl-C it ends calls under way, for which uvicorn would wait."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)  # pyright: ignore[reportUnknownMemberType] -- as below
            if not self.should_exit:
                announce()

        def handle_exit(self, sig: int, frame: Any) -> None:
            super().handle_exit(sig, frame)  # pyright: ignore[reportUnknownMemberType] -- uvicorn is optional
            if self.force_exit:
                for task in list(self.server_state.tasks):
                    task.cancel()

    return Announcing


class _Quiet:
    """An application whose calls may be cut off without a traceback, which is how uvicorn reports it."""

    def __init__(self, application: Server) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(asyncio.CancelledError):
            await self._application(scope, receive, send)


# -- addresses


def listen(host: str, port: int, *, loopback_only: bool) -> list[socket.socket]:
    """Sockets that listen on each address of *host*, all on one port.

    Raises:
        ConfigError: if there is no such address or port, or if one of them is not of loopback and
            *loopback_only*.
    """
    addresses = _addresses(host, port)
    if loopback_only:
        _check_loopback(host, addresses)
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for family, address in addresses:
            # Where any free port will do, it is one for all addresses.
            chosen = opened[0].getsockname()[1] if opened else port
            # localhost may also mean ::1 where there is no IPv6: the last one, or another, must do.
            may_be_absent = bool(opened) or (family, address) != addresses[-1]
            opened += map(stack.enter_context, _opened(family, address, chosen, may_be_absent=may_be_absent))
        stack.pop_all()
    return opened


def _addresses(host: str, port: int) -> list[tuple[Any, Any]]:
    if type(port) is not int or not 0 <= port <= 65535:
        raise ConfigError(f"port must be a whole number from 0 to 65535, not {port!r}.")
    if not host:
        raise ConfigError("host is empty. Name an address, such as 127.0.0.1, or 0.0.0.0 for all of them.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(f"The host {host!r} does not resolve. Name an address of this machine.") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _check_loopback(host: str, addresses: list[tuple[Any, Any]]) -> None:
    beyond = next((address[0] for _, address in addresses if not is_loopback(address[0])), None)
    if beyond is not None:
        raise ConfigError(
            f"The gateway has no api_keys, so whoever reaches {host} ({beyond}) could spend your money and "
            "read the call log. Give it keys, or listen on 127.0.0.1 only."
        )


def _opened(family: Any, address: Any, port: int, *, may_be_absent: bool) -> list[socket.socket]:
    host, _, *rest = address
    try:
        return [socket.create_server((host, port, *rest), family=family, backlog=_BACKLOG)]
    except OSError as exc:
        if exc.errno == errno.EADDRNOTAVAIL and may_be_absent:
            return []
        reason = _REASONS.get(exc.errno or 0, f"cannot be listened on ({exc.strerror})")
        raise ConfigError(f"Port {port} of {host} {reason}.") from None


def _where(host: str, port: int, *, is_open: bool) -> str:
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    who = "open to programs on this machine" if is_open else "with a key as bearer token"
    return f"Respan gateway: {base}/api ({who})\nCall log:       {base}/"
