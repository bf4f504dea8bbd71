"""The SDK's requests, built as the user's HTTP client builds them, in a fraction of its time.

What the calls of a client differ in is the body; their URL and headers are the same over and over. Merging those takes
the library longer than everything else that is done here for a call, so it is asked once: what it made is the template
of all that ask for the same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._core.values import Value
from ._families import family_of, pairs_in, place_of, put_value


if TYPE_CHECKING:
    from collections.abc import Callable


#: What the SDK hands over for a call whose body is in memory (openai/_base_client.py, ``_build_request``).
_NEEDED = frozenset({"content", "headers", "method", "timeout", "url"})
_KNOWN = _NEEDED | {"files", "params"}

#: Methods of a client that have a say in what it builds.
_BUILDERS = ("build_request", "_merge_cookies", "_merge_headers", "_merge_queryparams", "_merge_url")

_LENGTH = b"content-length"

#: Templates that a client keeps. It needs a few, unless its calls bring headers that are never the same.
_MOST = 32

#: All that a request has which was built from bytes (httpx2/_models.py, ``Request``).
_FIELDS = frozenset({"_content", "extensions", "headers", "method", "stream", "url"})


class _Template(Value):
    """A request without its body; *at* is the place of its length among the headers."""

    def __init__(self, method: str, url: Any, headers: Any, at: int) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.at = at


class Builder:
    """Builds what ``client.build_request`` builds.

    The client does it itself where somebody replaced or derived a method that has a say in it, and for requests that
    are not the plain ones of the SDK: with uploads, cookies or a query, or with a body that is not in memory.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._family = family = family_of(client)
        self._method = _library_method(family, client.__class__)
        self._timeouts = frozenset({family.Timeout, float, int, type(None)})
        self._templates: dict[tuple[Any, ...], _Template] = {}

    def build(self, *args: Any, **options: Any) -> Any:
        """As ``Client.build_request``."""
        build = self._client.build_request
        key = None if args else self._key(build, options)
        if key is None:
            return build(*args, **options)
        try:
            template = self._templates.get(key)
        except TypeError:  # a header that is a list
            return build(**options)
        if template is not None:
            return self._filled(template, options["content"], options["timeout"])
        request = build(**options)
        self._keep(key, request)
        return request

    def _key(self, build: Any, options: dict[str, Any]) -> tuple[Any, ...] | None:
        """All on which the request depends but its body and its timeouts; ``None`` if it depends on more."""
        client = self._client
        if (
            getattr(build, "__func__", build) is not self._method
            or not _NEEDED <= options.keys() <= _KNOWN
            or type(options["content"]) is not bytes
            or not options["content"]  # its length would stand elsewhere
            or type(options["timeout"]) not in self._timeouts
            or options.get("params") is not None
            or options.get("files") is not None
            or client.params
            or client.cookies
        ):
            return None
        headers: Any = options["headers"]
        if isinstance(headers, self._family.Headers):
            headers = pairs_in(headers)
        elif headers.__class__ is not list:
            return None
        return options["method"], str(options["url"]), *pairs_in(client.headers), None, *headers

    def _keep(self, key: tuple[Any, ...], request: Any) -> None:
        at = place_of(request.headers, _LENGTH)
        said = any(pair is not None and _is_length(pair[0]) for pair in key[2:])
        if said or at is None or not self._is_known(request):
            return
        if len(self._templates) >= _MOST:
            self._templates.clear()
        headers = self._family.Headers(request.headers)  # nobody else's: a hook may change the request's
        self._templates[key] = _Template(request.method, request.url, headers, at)

    def _is_known(self, request: Any) -> bool:
        """Whether nothing would be lost of *request* by making another of the same fields."""
        return request.__class__ is self._family.Request and _names_in(request) == _FIELDS

    def _filled(self, template: _Template, content: bytes, timeout: Any) -> Any:
        family = self._family
        headers = family.Headers(template.headers)
        put_value(headers, template.at, b"%d" % len(content))
        request: Any = object.__new__(family.Request)  # whose __init__ would do all of it again
        request.method = template.method
        request.url = template.url
        request.headers = headers
        request.extensions = {"timeout": family.Timeout(timeout).as_dict()}
        request.stream = family.ByteStream(content)
        request._content = content  # noqa: SLF001 -- see _FIELDS
        return request


def _names_in(request: object) -> frozenset[str]:
    return frozenset(vars(request))


def _is_length(name: str | bytes) -> bool:
    return (name if isinstance(name, bytes) else name.encode()).lower() == _LENGTH


def _library_method(family: Any, cls: type[Any]) -> Callable[..., Any] | None:
    """``build_request`` of *cls* if that, and all that it calls on itself, is the library's own code."""
    own = vars(sys.modules.get(f"{family.__name__}._client", sys))
    methods = [getattr(cls, name, None) for name in _BUILDERS]
    return methods[0] if all(getattr(each, "__globals__", None) is own for each in methods) else None
