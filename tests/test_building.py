"""What is built from a template is what the HTTP client would have built itself."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import openai
import pytest
import wrapt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai import Gateway, wrap
from respan_openai._building import _BUILDERS, _DEFAULTS, Builder


URL = "https://api.openai.com/v1/chat/completions"
CANARY = b'{"prompt": "canary"}'


class Lazy(str):
    """A value that may be another thing each time that it is encoded."""

    __slots__ = ()


NAMES = st.sampled_from(
    ["A", "a", "Accept", "user-agent", "X-One", "Host", "Content-Length", "Transfer-Encoding"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=4)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
TIMEOUTS = st.one_of(st.none(), st.floats(0, 9), st.tuples(st.floats(0, 9), st.none() | st.floats(0, 9)))


@pytest.fixture(params=["Client", "AsyncClient"])
def client(library, request) -> Any:
    """A client that opens nothing: it only builds."""
    return getattr(library, request.param)(verify=False, base_url="https://base.example")


def asked(library, *, headers=(), content=b"{}", timeout=5.0, **more: Any) -> dict[str, Any]:
    """What the SDK hands over for a call."""
    return {
        "method": "post",
        "url": URL,
        "headers": headers if isinstance(headers, library.Headers) else [*headers],
        "content": content,
        "timeout": timeout,
        "params": None,
        "files": None,
        **more,
    }


def parts(request) -> dict[str, Any]:
    """All that a request is made of."""
    return {
        **vars(request),
        "headers": request.headers.raw,
        "stream": (type(request.stream), b"".join(request.stream)),
        "classes": (type(request), type(request.headers), type(request.url)),
    }


CALLS = st.fixed_dictionaries({
    "said": HEADERS,
    "body": st.binary(max_size=20),
    "timeouts": TIMEOUTS,
    "method": st.sampled_from(["post", "PUT"]),
    "url": st.sampled_from([URL, "http://127.0.0.1:8080/v1/responses?a=b", "/relative", "https://a:b@[::1]/x"]),
    "as_classes": st.booleans(),
})  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=HEADERS, calls=st.lists(CALLS, min_size=1, max_size=5))
def test_it_builds_what_the_client_builds(library, own, calls) -> None:
    """Method, URL, each header in its place, body, stream and extensions: the first time and from then on."""
    client = library.Client(verify=False, headers=own, base_url="https://base.example/v1")
    builder = Builder(client)

    for call in [*calls, *calls]:
        options = handed_over(library, **call)
        assert parts(builder.build(**options)) == parts(client.build_request(**options))


def handed_over(library, *, said, body, timeouts, method, url, as_classes) -> dict[str, Any]:
    timeout = library.Timeout(timeouts[0], read=timeouts[1]) if isinstance(timeouts, tuple) else timeouts
    if as_classes:  # as openai 2 hands them over
        said, url = library.Headers(said), library.URL(url)
    return asked(library, headers=said, content=body, timeout=timeout, url=url, method=method)


@pytest.fixture
def merges(library, monkeypatch) -> list[str]:
    """Notes each time that a request is made of headers by the library itself."""
    noted, make = [], library.Request.__init__

    def noting(self, *args, **options):
        noted.append("made")
        make(self, *args, **options)

    monkeypatch.setattr(library.Request, "__init__", noting)
    return noted


@pytest.mark.parametrize("as_classes", [False, True])
def test_the_library_is_asked_once_for_what_repeats(library, client, merges, as_classes) -> None:
    """Calls that differ in their body and timeout alone are built from a template, whichever way the SDK asks."""
    builder = Builder(client)
    headers = [("X-One", "1")]
    same = (
        {"headers": library.Headers(headers), "url": library.URL(URL)} if as_classes else {"headers": headers}
    )

    for size in range(1, 5):
        request = builder.build(**asked(library, content=b"x" * size, timeout=float(size)) | same)
        assert (request.headers["content-length"], request.content) == (str(size), b"x" * size)
        assert request.extensions["timeout"]["read"] == size

    assert merges == ["made"]


async def test_a_wrapped_client_builds_its_calls_from_a_template(caller, served, merges) -> None:
    """It holds for what the installed SDK hands over: only the first of its calls is put together."""
    client = wrap(caller.client(), gateway=Gateway("rk", f"{served.origin}/api"))

    for number in range(3):
        await caller.chat(client, user=f"user-{number}")

    assert [seen.json["user"] for seen in served.seen] == ["user-0", "user-1", "user-2"]
    assert len(merges) == (1 if hands_over_bytes() else 3)


def hands_over_bytes() -> bool:
    """Whether this SDK encodes bodies itself; openai 1 lets the HTTP client do it."""
    return int(openai.VERSION.split(".")[0]) > 1


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.headers.update({"x-new": "1"}),
        lambda client: client.cookies.set("a", "1"),
        lambda client: setattr(client, "params", {"q": "1"}),
    ],
    ids=["headers", "cookies", "params"],
)
def test_what_the_user_changes_holds_from_then_on(library, client, change) -> None:
    """A template is no reason to go on as before the client was changed."""
    builder, options = Builder(client), asked(library)
    before = [parts(builder.build(**options)) for _ in range(2)][-1]

    change(client)

    after = parts(builder.build(**options))
    assert after == parts(client.build_request(**options))
    assert after != before


def test_a_method_on_the_instance_is_asked(library, client) -> None:
    """A double or a tracer may stand in for the client's own at any time."""
    builder, options = Builder(client), asked(library)
    builder.build(**options)

    client.build_request = lambda **_options: "replaced"

    assert builder.build(**options) == "replaced"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"params": {"q": "1"}}, f"{URL}?q=1"),
        ({"files": {"file": b"x"}, "content": None}, URL),
        ({"content": None, "json": {"a": 1}}, URL),
        ({"content": iter([b"a", b"b"])}, URL),
        ({"cookies": {"a": "b"}}, URL),
        ({"extensions": {"sni_hostname": "x"}}, URL),
        ({"headers": {"x-one": "1"}}, URL),
        ({"headers": None}, URL),
        ({"content": "text"}, URL),
        ({"content": b""}, URL),
        ({"content": bytearray(b"{}")}, URL),
        ({"files": {}}, URL),
        ({"headers": [["x-one", "1"]]}, URL),
        ({"headers": [(b"x-one", b"1")]}, URL),
        ({"headers": [("x-one", Lazy("1"))]}, URL),
        ({"headers": [("Content-Length", "2")]}, URL),
        ({"timeout": (1.0, 2.0, 3.0, 4.0)}, URL),
        ({"timeout": True}, URL),
        ({"url": "/relative"}, "https://base.example/relative"),
    ],
)
def test_what_is_not_plain_is_built_by_the_client(library, client, merges, change, expected) -> None:
    """Uploads, queries, bodies that can be read once, and whatever else only the library knows how to build."""
    builder = Builder(client)

    built = [builder.build(**asked(library) | change) for _ in range(2)]

    assert [str(each.url) for each in built] == [expected] * 2
    assert len(merges) == 2


def test_arguments_by_position_are_the_client_s(client) -> None:
    """It takes what ``build_request`` takes."""
    built = Builder(client).build("GET", URL, headers={"x-one": "1"})

    assert (built.method, str(built.url), built.headers["x-one"]) == ("GET", URL, "1")


@pytest.mark.parametrize("name", _BUILDERS)
def test_a_class_with_methods_of_its_own_builds_itself(library, name) -> None:
    """A subclass is asked for each request: what it adds may be another thing each time."""
    calls = []

    class Own(library.Client):  # type: ignore[name-defined,misc]
        pass

    def counting(self, *args, **options):
        calls.append(name)
        return getattr(super(Own, self), name)(*args, **options)

    setattr(Own, name, counting)
    client = Own(verify=False)
    builder = Builder(client)
    for _ in range(3):
        builder.build(**asked(library))
    client.build_request = lambda **_options: "replaced"

    assert calls == [name] * 3
    assert builder.build(**asked(library)) == "replaced"


def test_a_class_that_is_patched_later_is_asked_again(library, client, monkeypatch) -> None:
    """A tracer that replaces ``build_request`` of the library after the first calls sees those that follow."""
    builder = Builder(client)
    builder.build(**asked(library))
    owner = next(each for each in type(client).__mro__ if "build_request" in vars(each))

    monkeypatch.setattr(owner, "build_request", lambda _self, **_options: "traced")

    assert builder.build(**asked(library)) == "traced"


def test_a_hook_changes_the_request_that_it_is_given_and_no_other(library, client) -> None:
    """Headers and timeouts of a request are its own, as those of any other."""
    builder = Builder(client)
    for _ in range(3):
        request = builder.build(**asked(library))
        request.headers["x-hook"] = "1"
        request.extensions["timeout"]["read"] = 1
        request.extensions["more"] = 1

    request = builder.build(**asked(library))

    assert "x-hook" not in request.headers
    assert request.extensions == client.build_request(**asked(library)).extensions


def test_a_template_keeps_no_body(library, client) -> None:
    """A prompt is given up with its call."""
    builder = Builder(client)
    before = sys.getrefcount(CANARY)

    for _ in range(2):
        builder.build(**asked(library, content=CANARY))

    assert builder._templates
    assert sys.getrefcount(CANARY) == before


def test_headers_that_are_never_the_same_do_not_pile_up(library, client) -> None:
    """Each call may bring a trace of its own, for as long as the process runs."""
    builder = Builder(client)

    for number in range(1000):
        request = builder.build(**asked(library, headers=[("traceparent", str(number))]))
        assert request.headers["traceparent"] == str(number)

    assert len(builder._templates) <= 32


def test_a_template_shows_no_key(library, client) -> None:
    """Frames of a traceback are collected with what is in them."""
    builder = Builder(client)
    for _ in range(2):
        builder.build(**asked(library, headers=[("api-key", "sk-canary")]))

    assert builder._templates
    assert "canary" not in repr(builder._templates)


@pytest.mark.parametrize("on", ["instance", "class"])
def test_who_wraps_the_method_with_wrapt_is_asked(library, client, monkeypatch, on) -> None:
    """As tracers do; such a wrapper has the attributes of what it wraps, and is equal to it."""
    builder, seen = Builder(client), []
    builder.build(**asked(library))
    owner = next(each for each in type(client).__mro__ if "build_request" in vars(each))
    where = client if on == "instance" else owner

    def tracing(wrapped, _instance, args, options):
        seen.append(on)
        return wrapped(*args, **options)

    monkeypatch.setattr(where, "build_request", wrapt.FunctionWrapper(where.build_request, tracing))
    for _ in range(2):
        builder.build(**asked(library))

    assert seen == [on] * 2


def test_a_class_whose_methods_are_wrapped_with_wrapt_builds_itself(library) -> None:
    """What is merged may be another thing each time."""

    class Own(library.Client):  # type: ignore[name-defined,misc]
        pass

    numbers = itertools.count()

    def numbered(wrapped, _instance, args, options):
        headers = wrapped(*args, **options)
        headers["x-number"] = str(next(numbers))
        return headers

    Own._merge_headers = wrapt.FunctionWrapper(library.Client._merge_headers, numbered)
    builder = Builder(Own(verify=False))

    built = [builder.build(**asked(library)).headers["x-number"] for _ in range(3)]
    assert built == ["0", "1", "2"]


@pytest.mark.parametrize("name", _DEFAULTS)
def test_a_class_with_defaults_of_its_own_builds_itself(library, merges, name) -> None:
    """A property may say another thing each time that it is asked."""
    own = getattr(library.Client, name)
    cls = type("Own", (library.Client,), {name: property(lambda self: own.fget(self), own.fset)})
    builder = Builder(cls(verify=False))

    for _ in range(3):
        builder.build(**asked(library))

    assert merges == ["made"] * 3


def test_the_method_of_another_client_is_that_client_s(library, client) -> None:
    """Who hands one client's method to another means it."""
    other = type(client)(verify=False, headers={"x-other": "1"})
    builder = Builder(client)
    for _ in range(2):
        builder.build(**asked(library))

    client.build_request = other.build_request

    assert [builder.build(**asked(library)).headers["x-other"] for _ in range(2)] == ["1", "1"]


def test_headers_that_change_in_the_middle_are_kept_for_nobody(library, client, monkeypatch) -> None:
    """Another thread may set a client's headers between two looks at them; that must not stay."""
    builder, make = Builder(client), library.URL.__init__
    client.headers["x-tenant"] = "a"

    def changing(self, *args, **options):  # the first thing that a client does for a request
        client.headers["x-tenant"] = "b"
        make(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(library.URL, "__init__", changing)
        mixed = builder.build(**asked(library))
    client.headers["x-tenant"] = "a"

    assert mixed.headers["x-tenant"] == "b"  # as without us
    assert builder.build(**asked(library)).headers["x-tenant"] == "a"


def test_headers_of_the_client_are_not_those_of_a_call(library, client) -> None:
    """One of a call replaces the client's of its name; two of a call are both sent."""
    builder = Builder(client)
    client.headers = [("a", "1")]
    first = builder.build(**asked(library, headers=library.Headers([("a", "2")])))
    del client.headers["a"]
    second = builder.build(**asked(library, headers=library.Headers([("a", "1"), ("a", "2")])))

    assert (first.headers.get_list("a"), second.headers.get_list("a")) == (["2"], ["1", "2"])


def test_a_request_that_has_more_is_built_by_the_client(library, client, monkeypatch) -> None:
    """What a new version of the library adds to its requests is not lost."""
    builder, make, numbers = Builder(client), library.Request.__init__, itertools.count()

    def numbered(self, *args, **options):
        make(self, *args, **options)
        self.number = next(numbers)

    monkeypatch.setattr(library.Request, "__init__", numbered)

    assert [builder.build(**asked(library)).number for _ in range(3)] == [0, 1, 2]


def test_a_request_of_another_class_is_built_by_the_client(library, client, monkeypatch) -> None:
    """Whoever puts a class of his own in the library's place gets it each time."""
    own = type("Own", (library.Request,), {})
    monkeypatch.setattr(sys.modules[f"{library.__name__}._client"], "Request", own)
    builder = Builder(client)

    assert [type(builder.build(**asked(library))) for _ in range(3)] == [own] * 3


def test_headers_of_a_class_of_somebody_s_own_are_as_the_client_takes_them(library, client) -> None:
    """The length stands once and in its place, whatever the headers came in."""
    own = type("Own", (library.Headers,), {})
    builder = Builder(client)

    for size in (1, 22, 333):
        options = asked(library, headers=own([("A", "1"), ("a", "2")]), content=b"x" * size)
        request = builder.build(**options)
        assert parts(request) == parts(client.build_request(**options))
        assert request.headers.get_list("content-length") == [str(size)]
