"""Bodies of ``multipart/form-data``: which fields are found in them, and what is sent on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local.contract import ContractError
from respan_openai.local.forms import Form


TYPE = "multipart/form-data; boundary=edge"
SOUND = bytes(range(256)) * 4


def body_of(*parts: tuple[str, bytes]) -> bytes:
    """A form of *parts*: what follows ``form-data`` in the head, and the content."""
    written = (
        b"--edge\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), content)
        for head, content in parts
    )
    return b"".join(written) + b"--edge--\r\n"


def form_of(*parts: tuple[str, bytes]) -> Form:
    """The same, read."""
    form = Form.read(TYPE, body_of(*parts))
    assert form is not None
    return form


def refusal(action: Any) -> tuple[int, dict[str, Any]]:
    """Status and error that *action* ends with."""
    with pytest.raises(ContractError) as caught:
        action()
    return caught.value.reply.status, json.loads(caught.value.reply.chunks[0])["error"]


# -- fields


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "text/plain; boundary=edge",
        "multipart/mixed; boundary=edge",
        "application/form-data; boundary=edge",
    ],
)
def test_other_bodies(kind: str) -> None:
    """What is no form by its type is left to others."""
    assert Form.read(kind, body_of(('name="a"', b"1"))) is None


@pytest.mark.parametrize("kind", [TYPE, 'MULTIPART/Form-Data; charset=utf-8; boundary="edge"'])
def test_fields(kind: str) -> None:
    """Texts by name, the first of several; a file counts as its name."""
    parts = (
        ('name="a"', b"1"),
        ('name="b"', "é".encode()),
        ('name="a"', b"2"),
        ('name="f"; filename="x"', SOUND),
    )
    form = Form.read(kind, body_of(*parts))

    assert form is not None
    assert form.fields == {"a": "1", "b": "é", "f": ""}


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ('filename="x"; name="a"', ""),
        ("name=\"a\"; filename*=utf-8''x", ""),
        ('name="a"; FILENAME="x"', ""),
        ('name="a"\r\nContent-Type: text/plain', "1"),
        ('name="a"\r\nX-Note: no filename here', "1"),
    ],
)
def test_what_a_file_is(head: str, text: str) -> None:
    """A part with a file name, in whatever order and spelling; nothing else is one."""
    assert form_of((head, b"1")).fields == {"a": text}


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        ("name=a", {"a": "1"}),
        ("name=a; x=y", {"a": "1"}),
        ("NAME=a", {"a": "1"}),
        ('name = "a b"', {"a b": "1"}),
        ("name=metadata[run]", {"metadata[run]": "1"}),
        ("\r\n\tname=a", {"a": "1"}),
        ('filename="b; name=c.wav"; name=a', {"a": ""}),
        ('filename="b\\"; name=c"; name=a', {"a": ""}),
        ("filename=b; name=a", {"a": ""}),
        ("name=a; filename=name=b.wav", {"a": ""}),
        ('name="a"\r\nContent-Type: text/plain; name="b"', {"a": "1"}),
        ('name=""', {"": "1"}),
    ],
)
def test_how_a_name_is_written(head: str, fields: dict[str, str]) -> None:
    """In quotes or without them (RFC 2183), as .NET does; it is that of the part and of nothing else."""
    assert form_of((head, b"1")).fields == fields


@pytest.mark.parametrize(
    "head",
    [
        "",
        "name=",
        "filename=a",
        'filename="a; name=b"',
        'x-name="a"',
        "name*=utf-8''a",
        '\r\nContent-Type: text/plain; name="a"',
    ],
)
def test_name_that_cannot_be_read(head: str) -> None:
    """It is 400: the part could be a limit of the customer's, and would go to the provider instead."""
    body = body_of(('name="model"', b"m"), (head, b"1"))
    status, error = refusal(lambda: Form.read(TYPE, body))

    assert (status, error["param"]) == (400, None)
    assert "has no name that can be read" in error["message"]


def test_part_without_a_head() -> None:
    """It has no name either."""
    body = b"--edge\r\n\r\n1\r\n" + body_of(('name="model"', b"m"))

    assert refusal(lambda: Form.read(TYPE, body))[0] == 400


def test_field_that_is_too_long() -> None:
    """A text of more than 64 KiB is not looked at, but sent on."""
    form = form_of(('name="model"', b"m"), ('name="a"', b"x" * 65537))

    assert form.fields["a"] == ""
    assert b"x" * 65537 in form.sent("m", ())


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize("body", [b"", b"--edge--\r\n", body_of(('name="a"', b"1")), b"--\r\n\r\n\r\n--\r\n"])
def test_form_that_cannot_be_cut(kind: str, body: bytes) -> None:
    """Without a boundary, or one that is not in the body, it is 400."""
    status, error = refusal(lambda: Form.read(kind, body))

    assert (status, error["param"]) == (400, None)
    assert "boundary" in error["message"]


@pytest.mark.parametrize("cut", range(0, len(body_of(('name="a"', b"1"))) - 12, 7))
def test_form_that_breaks_off(cut: int) -> None:
    """A part without its end is none."""
    assert refusal(lambda: Form.read(TYPE, body_of(('name="a"', b"1"))[:cut]))[0] == 400


# -- what is sent on


def test_unchanged() -> None:
    """With the same model and nothing to leave out, not a byte changes, preamble and epilogue included."""
    body = b"preamble\r\n" + body_of(('name="model"', b"m"), ('name="f"; filename="x"', SOUND)) + b"epilogue"
    form = Form.read(TYPE, body)

    assert form is not None
    assert form.sent("m", ()) == body


def test_another_model() -> None:
    """The model is written in its place, whatever a file looks like."""
    fake = b'\r\n--edg\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n'
    before, after = ('name="f"; filename="x"', SOUND + fake), ('name="language"', b"en")
    form = form_of(before, ('name="model"', b"up/whisper"), after)

    assert form.sent("whisper", ()) == body_of(before, ('name="model"', b"whisper"), after)


def test_model_that_was_missing() -> None:
    """A model that the gateway has chosen is added."""
    form = form_of(('name="f"; filename="x"', SOUND))

    assert form.sent("m", ()) == body_of(('name="model"', b"m"), ('name="f"; filename="x"', SOUND))


def test_fields_that_are_left_out() -> None:
    """All parts of a parameter go, the inner ones of an object too; a name that only begins like it stays."""
    kept = [('name="model"', b"m"), ('name="metadatas"', b"1"), ('name="f"; filename="x"', SOUND)]
    dropped = [('name="metadata[a]"', b"1"), ('name="metadata[b][]"', b"2"), ('name="metadata"', b"3")]
    form = form_of(dropped[0], kept[0], dropped[1], kept[1], kept[2], dropped[2])

    assert form.sent("m", {"metadata"}) == body_of(*kept)


_NAMES = st.sampled_from(["model", "a", "b[]", "metadata[x]"])
_CONTENT = st.binary(max_size=40).filter(lambda content: b"--edge" not in content)


@given(parts=st.lists(st.tuples(_NAMES, _CONTENT, st.booleans()), min_size=1, max_size=6))
def test_whatever_is_in_it(parts: list[tuple[str, bytes, bool]]) -> None:
    """Parts that are sent on are those that came, in their order; the model alone has changed."""
    written = [(f'name="{name}"' + '; filename="f"' * is_file, content) for name, content, is_file in parts]
    expected = [
        (head, b"new" if head.startswith('name="model"') else content)
        for head, content in written
        if "metadata" not in head
    ]
    added = [] if any(name == "model" for name, _, _ in parts) else [('name="model"', b"new")]

    assert form_of(*written).sent("new", {"metadata"}) == body_of(*added, *expected)


def test_as_httpx_writes_it() -> None:
    """Forms of the HTTP library that the SDK writes them with are read."""
    request = httpx.Request(
        "POST", "http://x.invalid", data={"model": "m", "a[]": ["1", "2"]}, files={"file": SOUND}
    )
    form = Form.read(request.headers["content-type"], request.read())

    assert form is not None
    assert form.fields == {"model": "m", "a[]": "1", "file": ""}
    assert form.given({"a"}) == {"model": "m", "file": "", "a": [1, 2]}
    assert form.sent("m", ()) == request.content


# -- objects and lists


def test_places() -> None:
    """Objects and lists are put together from their places; what is no JSON is text; other names are left alone."""
    parts = {
        "metadata[run]": b"7",
        "metadata[deep][x]": b"text",
        "metadata[list][]": b"true",
        "other[x]": b"1",
        "metadata[": b"1",
    }
    form = form_of(
        *((f'name="{name}"', value) for name, value in parts.items()), ('name="metadata[list][]"', b"null")
    )

    found = form.given({"metadata"})

    assert found.pop("other[x]") == "1"
    assert found.pop("metadata[") == "1"
    assert found == {"metadata": {"run": 7, "deep": {"x": "text"}, "list": [True, None]}}


@pytest.mark.parametrize(
    "names", [["a[x]", "a[x][y]"], ["a", "a[x]"], ["a[]", "a[x]"], ["a[x]", "a[]"], ["a[][x]"], ["a[x][][y]"]]
)
def test_places_that_contradict(names: list[str]) -> None:
    """What would be a text and an object, or a list of objects, is 400 that names the parameter."""
    form = form_of(*((f'name="{name}"', b"1") for name in names))
    status, error = refusal(lambda: form.given({"a"}))

    assert (status, error["param"]) == (400, "a")


def test_places_without_end() -> None:
    """How deep places lie is up to the sender, and breaks nothing."""
    found = form_of((f'name="a{"[x]" * 20_000}"', b"1")).given({"a"})

    assert list(found["a"]) == ["x"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("disable_log", "true", True),
        ("cache_ttl", "60", 60),
        ("custom_identifier", "7", "7"),
        ("custom_identifier", "c", "c"),
        ("fallback_models", '["a", "b"]', ["a", "b"]),
        ("respan_params", '{"custom_identifier": "c"}', {"custom_identifier": "c"}),
        ("metadata", "no object", "no object"),
        ("metadata", "[" * 60_000, "[" * 60_000),
        ("other", "7", "7"),
    ],
)
def test_what_texts_stand_for(name: str, text: str, value: Any) -> None:
    """A parameter is what its text is as JSON, unless a text is what it takes; a field of the provider's stays a text."""
    ours = {"disable_log", "cache_ttl", "custom_identifier", "fallback_models", "respan_params", "metadata"}

    assert form_of((f'name="{name}"', text.encode())).given(ours) == {name: value}
