"""What is built from a template is what the HTTP client would have built itself."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai import Gateway, wrap
from respan_openai._building import Builder


URL = "https://api.openai.com/v1/chat/completions"
CANARY = b'{"prompt": "canary"}'

NAMES = st.sampled_from(
    ["A", "a", "Accept", "user-agent", "X-One", "Host", "Content-Length", "Transfer-Encoding"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=4)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
TIMEOUTS = st.one_of(st.none(), st.floats(0, 9), st.tuples(st.floats(0, 9), st.none() | st.floats(0, 9)))


@pytest.fixture(params=["Client", "AsyncClient"])
def client(library, request) -> Any:
    """A client that opens nothing: it only builds."""
    return getattr(library, request.param)(verify=False)


def asked(library, *, headers=(), content=b"{}", timeout=5.0, **more: Any) -> dict[str, Any]:
    """What the SDK hands over for a call."""
    return {
        "method": "post",
        "url": URL,
        "headers": headers if isinstance(headers, library.Headers) else list(headers),
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    own=HEADERS,
    said=HEADERS,
    bodies=st.lists(st.binary(max_size=20), min_size=2, max_size=4),
    timeouts=TIMEOUTS,
    url=st.sampled_from([URL, "http://127.0.0.1:8080/v1/responses?a=b", "/relative", "https://a:b@[::1]/x"]),
    as_classes=st.booleans(),
)
def test_it_builds_what_the_client_builds(library, own, said, bodies, timeouts, url, as_classes) -> None:
    """Method, URL, each header in its place, body, stream and extensions: the first time and from then on."""
    client = library.Client(verify=False, headers=own, base_url="https://base.example/v1")
    builder = Builder(client)
    timeout = library.Timeout(timeouts[0], read=timeouts[1]) if isinstance(timeouts, tuple) else timeouts
    headers = said
    if as_classes:  # as openai 2 hands them over
        headers, url = library.Headers(said), library.URL(url)

    for body in bodies:
        options = asked(library, headers=headers, content=body, timeout=timeout, url=url)
        assert parts(builder.build(**options)) == parts(client.build_request(**options))


def counted(client) -> list[str]:
    """Notes each time that *client* merges headers, which is what takes its time."""
    merges, merge = [], client._merge_headers
    client._merge_headers = lambda headers: merges.append("merged") or merge(headers)
    return merges


def test_the_library_is_asked_once_for_what_repeats(library, client) -> None:
    """Calls that differ in their body and timeout alone are built from a template."""
    builder, merges = Builder(client), counted(client)

    for size in range(1, 5):
        request = builder.build(**asked(library, content=b"x" * size, timeout=float(size)))
        assert (request.headers["content-length"], request.content) == (str(size), b"x" * size)
        assert request.extensions["timeout"]["read"] == size

    assert merges == ["merged"]


async def test_a_wrapped_client_builds_its_calls_from_a_template(caller, served) -> None:
    """It holds for what the installed SDK hands over: only the first of its calls is merged."""
    inner = caller.http()
    merges = counted(inner)
    client = wrap(caller.client(http_client=inner), gateway=Gateway("rk", f"{served.origin}/api"))

    for number in range(3):
        await caller.chat(client, user=f"user-{number}")

    assert [seen.json["user"] for seen in served.seen] == ["user-0", "user-1", "user-2"]
    assert len(merges) == (1 if hands_over_bytes() else 3)


def hands_over_bytes() -> bool:
    """Whether this SDK encodes bodies itself; openai 1 lets the HTTP client do it."""
    import openai

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
        ({"headers": [["x-one", "1"]]}, URL),
        ({"headers": None}, URL),
        ({"content": "text"}, URL),
        ({"content": b""}, URL),
    ],
)
def test_what_is_not_plain_is_built_by_the_client(library, client, change, expected) -> None:
    """Uploads, queries, bodies that can be read once, and whatever else only the library knows how to build."""
    merges, builder = counted(client), Builder(client)

    built = [builder.build(**asked(library) | change) for _ in range(2)]

    assert [str(each.url) for each in built] == [expected] * 2
    assert len(merges) == 2


def test_arguments_by_position_are_the_client_s(client) -> None:
    """It takes what ``build_request`` takes."""
    built = Builder(client).build("GET", URL, headers={"x-one": "1"})

    assert (built.method, str(built.url), built.headers["x-one"]) == ("GET", URL, "1")


@pytest.mark.parametrize("name", ["build_request", "_merge_headers"])
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
