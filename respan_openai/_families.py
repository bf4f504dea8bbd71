"""httpx and httpx2: whatever comes back is of the family that the request came from.

openai 3 is built on httpx2 and accepts httpx clients too; openai 1 and 2 are built on httpx. The two
modules have the same public names, so one code path serves both once the right module is in hand.
Neither is imported here: the module that made the request is already loaded.
"""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ._core.call import Prepared
from ._core.judge import Fault
from ._core.steps import EventTooLarge, Overdue, TooLarge
from .exceptions import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx
    import httpx2

    from ._core.call import Outgoing, Raw

    #: Name, name in lower case, value.
    Line = tuple[bytes, bytes, bytes]

    class SyncTransport(httpx2.BaseTransport, httpx.BaseTransport): ...  # type: ignore[misc]

    class AsyncTransport(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport): ...  # type: ignore[misc]

else:
    # What both families' clients accept has the methods; only type checkers ask for the base.
    SyncTransport = AsyncTransport = object


_NAMES = frozenset({"httpx", "httpx2"})

_NO_TIMEOUT: Mapping[str, float | None] = MappingProxyType({})

_families: dict[type, Any] = {}


def family_of(thing: object) -> Any:
    """The module, ``httpx`` or ``httpx2``, whose class *thing* is an instance of.

    Raises:
        ConfigError: if it is of neither.
    """
    cls = thing.__class__
    family = _families.get(cls)
    if family is None:
        family = _families[cls] = _module_of(cls)
    return family


def _module_of(cls: type) -> Any:
    for base in cls.__mro__:
        name = base.__module__.partition(".")[0]
        if name in _NAMES:
            return sys.modules[name]
    raise ConfigError(
        f"{cls.__module__}.{cls.__qualname__} is neither of httpx nor of httpx2. "
        "Hand in a client, transport or request of the HTTP library that your openai version uses."
    )


def is_async_client(client: object) -> bool:
    """Whether *client* is an ``AsyncClient`` of either family."""
    return isinstance(client, family_of(client).AsyncClient)


@lru_cache(maxsize=256)
def _url(family: Any, url: str) -> Any:
    # Parsing one costs as much as the rest of a rebuilt request, and a gateway has five of them.
    return family.URL(url)


def rebuilt(
    original: Any, outgoing: Outgoing, mark: str, timeout: dict[str, float | None] | None = None
) -> Any:
    """A request of *original*'s family for *outgoing*; *original* stays as it is.

    Among its extensions are *mark* and, where it is given, *timeout* (seconds for ``connect``, ``read``,
    ``write`` and ``pool``).

    An unchanged body is shared, not copied, so a stream that can be read once is still read once.
    """
    family = family_of(original)
    extensions = {**original.extensions, mark: True}
    if timeout is not None:
        extensions["timeout"] = timeout
    if outgoing.body is not None:
        return family.Request(
            original.method,
            _url(family, outgoing.url),
            headers=[*outgoing.headers, *outgoing.extra],
            content=outgoing.body,
            extensions=extensions,
        )
    request = twin_of(original)  # building the request anew costs ten times as much
    request.url = _url(family, outgoing.url)
    request.headers = headers = _headers(family, outgoing.headers)
    _add_headers(headers, [(name, name.lower(), value) for name, value in outgoing.extra])
    request.extensions = extensions
    return request


def twin_of(request: Any) -> Any:
    """A copy of *request*, with the same body; ``copy.copy()`` would drop that (httpx2/_models.py, ``__getstate__``)."""
    twin: Any = object.__new__(request.__class__)
    twin.__dict__.update(request.__dict__)
    return twin


def seconds_for(request: Any) -> float | None:
    """Seconds that the sender of *request* waits for its answer; ``None`` for no limit.

    One plain call can take as long as its longest timeout; all that is done for it may take no longer.
    """
    timeout = request.extensions.get("timeout", _NO_TIMEOUT)
    read: float | None = timeout.get("read")
    connect: float | None = timeout.get("connect")
    return read if read is None or connect is None or connect < read else connect


def _headers(family: Any, raw: Raw) -> Any:
    if not isinstance(raw, Prepared):
        return family.Headers(raw)
    made = getattr(raw, "made", None)
    if made is None or made[0] is not family:
        made = raw.made = family, family.Headers(raw)
    return family.Headers(made[1])


def set_headers(headers: Any, lines: Sequence[Line]) -> None:
    """Same as ``headers[name] = value`` for each of *lines*, which each looks through all headers for the name.

    No two of them have the same name. Where the class keeps headers as both families do today, lines that are new
    are put behind the others.
    """
    if _is_usual(headers.__class__):
        listed: list[Line] = headers._list  # noqa: SLF001 -- see _is_usual
        if {*map(_LOWERED, lines)}.isdisjoint(map(_LOWERED, listed)):
            listed += lines
            return
    for name, _, value in lines:
        headers[name.decode()] = value.decode()


def _add_headers(headers: Any, lines: Sequence[Line]) -> None:
    """Same as :func:`set_headers` for names of which *headers* has none."""
    if _is_usual(headers.__class__):
        headers._list += lines  # noqa: SLF001 -- see _is_usual
    else:
        set_headers(headers, lines)


def has_header(headers: Any, name: bytes) -> bool:
    """Whether *name*, in lower case, is among *headers*; where they are usual, without a copy of all names."""
    if _is_usual(headers.__class__):
        return name in map(_LOWERED, headers._list)  # noqa: SLF001 -- see _is_usual
    return name.decode() in headers


def pairs_in(headers: Any) -> Raw:
    """Same as ``headers.raw``, which looks at each header in Python, where they are usual."""
    if _is_usual(headers.__class__):
        return [*map(_PAIR, headers._list)]  # noqa: SLF001 -- see _is_usual
    return headers.raw  # type: ignore[no-any-return]


def first_values(headers: Any) -> dict[bytes, bytes]:
    """The first value of each of *headers* by its name in lower case."""
    if _is_usual(headers.__class__):
        return dict(map(_ITEM, reversed(headers._list)))  # noqa: SLF001 -- see _is_usual
    return {name.lower(): value for name, value in reversed(headers.raw)}


def line(name: str, value: str) -> Line:
    """A header as the families keep it."""
    return name.encode(), name.lower().encode(), value.encode()


_LOWERED, _PAIR, _ITEM = itemgetter(1), itemgetter(0, 2), itemgetter(1, 2)


@lru_cache(maxsize=8)
def _is_usual(cls: type) -> bool:
    """Whether headers of *cls* are a list of name, lower-case name and value (httpx2/_models.py, ``Headers``)."""
    is_known = cls.__name__ == "Headers" and cls.__module__.partition(".")[0] in _NAMES
    return is_known and getattr(cls([(b"Ab", b"c")]), "_list", None) == [(b"Ab", b"ab", b"c")]


def without_cookies(response: Any, jar: Any = None) -> Any:
    """*response* without ``Set-Cookie``, and *jar* without what it said: a jar knows hosts, but no ports and no keys.

    Args:
        response: Just received.
        jar: ``Cookies`` of the client that received it; ``None`` if the client has not seen it yet.
    """
    if has_header(response.headers, b"set-cookie"):
        if jar is not None:
            said = family_of(response).Cookies()
            said.extract_cookies(response)
            for cookie in said.jar:
                with suppress(KeyError):  # a hook may have been quicker
                    jar.delete(cookie.name, cookie.domain, cookie.path)
        del response.headers["set-cookie"]
    return response


def body_in_memory(request: Any) -> bytes | None:
    """The request's body if it can be read any number of times; ``None`` for multipart and generators."""
    try:
        return request.content  # type: ignore[no-any-return]
    except family_of(request).RequestNotRead:
        return None


#: By class name, which both families share. Their base classes come last, for what is neither.
_FAULTS = {
    "ConnectError": Fault.CONNECT,
    "ConnectTimeout": Fault.CONNECT,
    "PoolTimeout": Fault.POOL,
    "ReadTimeout": Fault.READ_TIMEOUT,
    "WriteTimeout": Fault.WRITE,
    "WriteError": Fault.WRITE,
    "ReadError": Fault.READ,
    "CloseError": Fault.READ,
    "RemoteProtocolError": Fault.PROTOCOL,
    "LocalProtocolError": Fault.UNSENDABLE,
    "UnsupportedProtocol": Fault.UNSENDABLE,
    "ProxyError": Fault.PROXY,
    "DecodingError": Fault.DECODING,
    "TimeoutException": Fault.READ_TIMEOUT,
    "TransportError": Fault.READ,
}


class Late(Overdue):
    """An ``Overdue`` that came too late itself: an event loop was blocked, so nobody looked for an answer."""


_OWN_FAULTS = {
    Overdue: Fault.READ_TIMEOUT,
    Late: Fault.LATE,
    TooLarge: Fault.LIMIT,
    EventTooLarge: Fault.LIMIT,
}

#: What h11 says of a connection that was closed before an answer (httpcore/_sync/http11.py).
_HUNG_UP = "Server disconnected without sending a response."
_CUT_OFF = "peer closed connection"


def fault_of(error: BaseException) -> Fault | None:
    """What *error* of an HTTP library, or of a step's limits, means; ``None`` for any other exception."""
    cls = type(error)
    if cls in _OWN_FAULTS:
        return _OWN_FAULTS[cls]
    if not any(base.__module__.partition(".")[0] in _NAMES for base in cls.__mro__):
        return None
    fault = next((_FAULTS[base.__name__] for base in cls.__mro__ if base.__name__ in _FAULTS), None)
    if fault is Fault.CONNECT and distrust_in(error) is not None:
        return Fault.CERTIFICATE
    if fault is Fault.PROTOCOL and (str(error) == _HUNG_UP or str(error).startswith(_CUT_OFF)):
        return Fault.READ
    return fault


def distrust_in(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Why a certificate was not accepted, if that stands behind *error*, which on trio says nothing itself."""
    return next((each for each in _chain(error) if isinstance(each, ssl.SSLCertVerificationError)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
