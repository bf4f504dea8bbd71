"""Reading a call: which paths are served, and fields found in a body without parsing it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai._core.call import (
    Call,
    Found,
    Outgoing,
    Prepared,
    dump_object,
    find_string,
    holds,
    parse_object,
    served_path,
    string_field,
    with_string,
)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just('"model":"x"') | st.just("\\"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.just("model"), inner, max_size=3)
    ),
    max_leaves=8,
)
BODY = st.dictionaries(st.sampled_from(["model", "messages", "tools", "x"]), JSON, max_size=4)


@pytest.mark.parametrize(
    ("method", "path", "served"),
    [
        ("POST", b"/v1/chat/completions", "/chat/completions"),
        ("POST", b"/v1/responses", "/responses"),
        ("POST", b"/api/openai/v1/embeddings", "/embeddings"),
        ("POST", b"/v1/audio/speech", "/audio/speech"),
        ("POST", b"/openai/deployments/d/chat/completions?api-version=1", "/chat/completions"),
        ("POST", b"/openai/deployments/d/audio/transcriptions?api-version=1", "/audio/transcriptions"),
        ("GET", b"/v1/responses", None),
        ("POST", b"/v1/completions", None),
        ("POST", b"/v1/responses/resp_1/cancel", None),
        ("POST", b"/v1/responses/compact", None),
        ("POST", b"/v1/audio/translations", None),
        ("POST", b"/v1/files", None),
        ("POST", b"/v1/images?x=/chat/completions", None),
    ],
)
def test_served_paths(method, path, served) -> None:
    """POST on what the gateway documents, below any base; nothing else."""
    assert served_path(method, path) == served


@given(body=BODY, ascii_only=st.booleans(), separators=st.sampled_from([(",", ":"), (", ", ": ")]))
def test_a_string_field_is_what_the_parser_says(body, ascii_only, separators) -> None:
    """However the body is written, whatever is nested in it, and wherever the field stands."""
    raw = json.dumps(body, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    expected = body.get("model")

    assert string_field(raw, "model") == (expected if isinstance(expected, str) else None)


@given(
    st.sampled_from([b'_params"', b'"first_token_timeout"', b'"metadata"']),
    st.lists(
        st.sampled_from([b'_params"', b'"first_token_timeout"', b'"metadata"', b"_", b"_par", b'"first'])
    ),
    st.lists(st.integers(0, 6000), min_size=1),
)
def test_a_name_is_found_wherever_it_stands(needle, pieces, gaps) -> None:
    """In short and in long bodies, in front of, behind and between any number of underscores."""
    body = b"".join(piece + b"x" * gaps[at % len(gaps)] for at, piece in enumerate(pieces))

    assert holds(body, needle) == (needle in body)
    for found in (needle + body, body + needle, body + needle + b"_" * 40, b"_" * 40 + body + needle):
        assert holds(found, needle)


@given(body=BODY, value=st.text(alphabet='ab/\u00f6"\\'))
def test_setting_a_string_field_changes_only_it(body, value) -> None:
    """All other fields keep their values and their order."""
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    changed = json.loads(with_string(raw, "model", value))

    assert changed == {**body, "model": value}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model":"m","x":1}', Found("m", 9, 12)),
        (b'{"x":{"model":"n"},"model":"m"}', Found("m", 27, 30)),
        (b'{"model": "m"}', Found("m", 10, 13)),
        (b'{"model":"m","x":{"model":"n"}}', Found("m", 9, 12)),
        (b'{"x":{"model":"n"}}', None),
        (b'{"x":[{"model":"n"}],"y":1}', None),
        (b'{"model":"a\\"b"}', None),
        (b'{"model":7}', None),
        (b"{}", None),
    ],
)
def test_where_a_field_is_found(body, found) -> None:
    """First or last, with a space or without; nested and escaped ones are left to the parser."""
    assert find_string(body, "model") == found


@pytest.mark.parametrize("body", [None, b"", b"[]", b"7", b"{"])
def test_bodies_that_are_no_object(body) -> None:
    """They have no fields."""
    assert parse_object(body) == {}
    assert string_field(body, "model") is None


def test_dumping_is_as_the_sdk_does() -> None:
    """Compact, UTF-8, and no NaN, which is no JSON."""
    assert dump_object({"a": "\u00f6", "b": [1]}) == '{"a":"\u00f6","b":[1]}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        dump_object({"a": float("nan")})


def test_headers_of_a_call() -> None:
    """By lower-case name, whatever case they came in; the query is what follows the question mark."""
    call = Call("POST", "https://x/y?z=1", b"/y?z=1", "/y", [(b"Api-Key", b"k")], None)

    assert (call.header(b"api-key"), call.header(b"other"), call.query) == ("k", None, b"z=1")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"\xff"}',
        b'{"x":1,"model":"\xff"}',
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b',"model":"m"',
    ],
)
def test_bodies_that_break_parsers(body) -> None:
    """Neither bad UTF-8 nor endless nesting raises: such a body has no fields, and is sent as it is."""
    assert string_field(body, "model") is None


def test_a_quote_inside_a_key() -> None:
    """The end of a longer key is not taken for the field."""
    body = json.dumps({"a": 1, 'x"model': "other", "z": 2}, separators=(",", ":")).encode()

    assert string_field(body, "model") is None
    assert string_field(b'{"x\\"model":"other","model":"m"}', "model") == "m"


def test_what_is_collected_with_a_traceback() -> None:
    """A request's repr shows where it goes; its headers, which hold the key, count only themselves."""
    headers = Prepared([(b"Authorization", b"Bearer rk-canary")])

    assert "canary" not in repr(Outgoing("https://g.example", headers, b"canary", "m", (("X", "canary"),)))
    assert repr(headers) == "<1 headers>"
