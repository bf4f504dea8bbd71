"""The SDK's requests, built as the user's HTTP client builds them, in a fraction of its time.

What the calls of a client differ in is the body; their URL and headers are the same over and over. Merging those takes
the library longer than everything else that is done here for a call, so it is asked once: what it made is the template
of all that ask for the same. A template has no body. It has the headers, with the keys in them, and lives as long as
the client, which has them too.
"""

from __future__ import annotations

import sys
from types import FunctionType, MethodType
from typing import Any

from ._core.values import Value
from ._families import family_of, pairs_in


#: What the SDK hands over for a call whose body is in memory (openai/_base_client.py, ``_build_request``).
_NEEDED = frozenset({"content", "headers", "method", "timeout", "url"})
_KNOWN = _NEEDED | {"files", "params"}

#: Methods and properties of a client that have a say in what it builds from an absolute URL.
_BUILDERS = ("build_request", "_merge_cookies", "_merge_headers", "_merge_queryparams", "_merge_url")
_DEFAULTS = ("cookies", "headers", "params")

#: As both families write it (httpx2/_content.py, ``encode_content``).
_LENGTH = "Content-Length"

#: All that a request has which was built from bytes (httpx2/_models.py, ``Request``).
_FIELDS = frozenset({"_content", "extensions", "headers", "method", "stream", "url"})

#: Templates that a client keeps. It needs a few, unless its calls bring headers that are never the same.
_MOST_TEMPLATES = 32


class _Key(tuple[Any, ...]):
    """All on which a request depends but its body and its timeouts."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<key>"  # the headers in it hold credentials


class _Template(Value):
    """A request without its body; among its headers is the length of another."""

    def __init__(self, method: str, url: Any, headers: Any) -> None:
        self.method = method
        self.url = url
        self.headers = headers

    def __repr__(self) -> str:
        return "<template>"  # as above


class Builder:
    """Builds what ``client.build_request`` builds.

    The client does it itself where that is not the library's own method any more, where its class has changed what
    has a say in it, and for requests that are not the plain ones of the SDK: with uploads, cookies or a query, with a
    relative URL, or with a body that is not in memory.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._family = family = family_of(client)
        self._own = client.build_request if _is_unchanged(family, client.__class__) else None
        self._urls = frozenset({family.URL, str})
        self._timeouts = frozenset({family.Timeout, float, int, type(None)})
        self._templates: dict[_Key, _Template] = {}

    def build(self, *args: Any, **options: Any) -> Any:
        """As ``Client.build_request``."""
        build = self._client.build_request
        key = None if args else self._key_of(build, options)
        if key is None:
            return build(*args, **options)
        try:
            template = self._templates.get(key)
        except TypeError:  # a header that is a list
            return build(**options)
        if template is not None:
            return self._filled(template, options["content"], options["timeout"])
        request = build(**options)
        # Another thread may have changed the client's headers meanwhile.
        if self._key_of(build, options) == key:
            self._keep(key, request, options["headers"])
        return request

    def _key_of(self, build: Any, options: dict[str, Any]) -> _Key | None:
        """The key of a request that may have a template; ``None`` for one that the client builds."""
        client = self._client
        if (
            # By type, too, because a wrapper made with wrapt is equal to what it wraps.
            type(build) is not MethodType
            or build != self._own
            or not _NEEDED <= options.keys() <= _KNOWN
            or type(options["content"]) is not bytes
            or not options["content"]  # its length would stand elsewhere (Request._prepare)
            or type(options["url"]) not in self._urls
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
        return _Key((options["method"], str(options["url"]), *pairs_in(client.headers), None, *headers))

    def _keep(self, key: _Key, request: Any, headers: Any) -> None:
        if (
            not key[1].startswith(("https://", "http://"))
            or not (isinstance(headers, self._family.Headers) or all(map(_is_plain, headers)))
            or _LENGTH in self._family.Headers(headers)
            or _LENGTH in self._client.headers
            or _LENGTH not in request.headers
            or request.__class__ is not self._family.Request
            or request.__dict__.keys() != _FIELDS
        ):
            return
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        own = self._family.Headers(request.headers)  # a hook may change the request's
        self._templates[key] = _Template(request.method, request.url, own)

    def _filled(self, template: _Template, content: bytes, timeout: Any) -> Any:
        family = self._family
        headers = family.Headers(template.headers)
        headers[_LENGTH] = str(len(content))  # in its place
        request: Any = object.__new__(family.Request)  # whose __init__ would do all of it again
        request.method = template.method
        request.url = template.url
        request.headers = headers
        request.extensions = {"timeout": family.Timeout(timeout).as_dict()}
        request.stream = family.ByteStream(content)
        request._content = content  # noqa: SLF001 -- see _FIELDS
        return request


def _is_plain(header: Any) -> bool:
    """Whether *header* is what it says: a subclass may be encoded otherwise than it compares."""
    return header.__class__ is tuple and {*map(type, header)} == {str}


def _is_unchanged(family: Any, cls: type[Any]) -> bool:
    """Whether all of *cls* that has a say in a request is the library's own code."""
    own = vars(sys.modules.get(f"{family.__name__}._client", sys))
    functions = [
        *(getattr(cls, name, None) for name in _BUILDERS),
        *(getattr(getattr(cls, name, None), "fget", None) for name in _DEFAULTS),
    ]
    return all(type(each) is FunctionType and each.__globals__ is own for each in functions)
