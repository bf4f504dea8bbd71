"""Echo through the real SDK: what it answers, streamed and not."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from respan_openai.local import Echo, LocalGateway
from respan_openai.local.contract import ContractError
from respan_openai.local.echo import CREATED, mocked
from tests.local_support import FAMILIES, async_sdk, http_client, sdk


if TYPE_CHECKING:
    from collections.abc import Iterator


HELLO: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello  big\nworld"},
]
TEXT = "echo: Hello  big\nworld"


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each HTTP library that this SDK accepts."""
    return request.param


@pytest.fixture
def client(family: str) -> Iterator[openai.OpenAI]:
    """An SDK client whose model repeats."""
    with sdk(family, LocalGateway.echo()) as client:
        yield client


# -- chat completions


def test_chat(client: openai.OpenAI) -> None:
    """The last user message comes back, under a model name that nobody takes for the real one."""
    completion = client.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert (completion.model, completion.created) == ("echo/gpt-4o", CREATED)


def test_usage_counts_words(client: openai.OpenAI) -> None:
    """A token is a word, and each choice counts."""
    usage = client.chat.completions.create(model="m", messages=HELLO, n=2).usage

    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 8, 13)


def test_prefix_is_not_part_of_the_model(client: openai.OpenAI) -> None:
    """``echo/m`` is the model ``m`` of the provider ``echo``, and says so once."""
    assert client.chat.completions.create(model="echo/m", messages=HELLO).model == "echo/m"


def test_same_request_same_answer(family: str) -> None:
    """Nothing in the content comes from a clock or from chance; another request has another id."""
    answers = []
    for text in ("a", "a", "b"):
        with http_client(family, LocalGateway.echo()) as http:
            asked = {"model": "m", "messages": [{"role": "user", "content": text}]}
            answers.append(http.post("/chat/completions", json=asked).json())

    assert answers[0] == answers[1]
    assert answers[0]["id"] != answers[2]["id"]


def test_choices(client: openai.OpenAI) -> None:
    """``n`` choices, numbered, streamed or not."""
    completion = client.chat.completions.create(model="m", messages=HELLO, n=3)
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, n=3, stream=True))

    assert [(choice.index, choice.message.content) for choice in completion.choices] == [
        (n, TEXT) for n in range(3)
    ]
    for index in range(3):
        pieces = [c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index]
        assert "".join(pieces) == TEXT


@pytest.mark.parametrize("n", [-1, 129, 1.5, "2", True])
def test_impossible_number_of_choices(client: openai.OpenAI, n: Any) -> None:
    """A number that OpenAI would not serve is an error of the SDK's own kind."""
    with pytest.raises(openai.BadRequestError, match="between 1 and 128") as caught:
        client.chat.completions.create(model="m", messages=HELLO, n=n)

    assert caught.value.param == "n"


def test_chat_stream(client: openai.OpenAI) -> None:
    """One chunk per word; without being asked for, no usage."""
    chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))

    assert [chunk.choices[0].delta.content for chunk in chunks] == [
        "",
        "echo: ",
        "Hello  ",
        "big\n",
        "world",
        None,
    ]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_with_usage(client: openai.OpenAI) -> None:
    """``include_usage`` adds a last chunk without choices, as OpenAI does."""
    options: Any = {"include_usage": True}
    *chunks, last = client.chat.completions.create(
        model="m", messages=HELLO, stream=True, stream_options=options
    )

    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 9
    assert all(chunk.usage is None for chunk in chunks)


def chat_helper(client: Any) -> Any:
    """Where this SDK has ``.stream()`` and ``.parse()``: 1.x keeps them in ``beta``."""
    return (
        client.chat.completions
        if hasattr(client.chat.completions, "stream")
        else client.beta.chat.completions
    )


def test_chat_stream_helper(client: openai.OpenAI) -> None:
    """The SDK's accumulator arrives at the same completion as an answer in one piece."""
    options = {"include_usage": True}
    with chat_helper(client).stream(model="m", messages=HELLO, n=2, stream_options=options) as stream:
        events = [event.type for event in stream]
        completion = stream.get_final_completion()

    assert [choice.message.content for choice in completion.choices] == [TEXT, TEXT]
    assert completion.usage.total_tokens == 13
    assert {"content.delta", "content.done"} <= set(events)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], "echo: "),
        ([{"role": "system", "content": "s"}], "echo: "),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "echo: a"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            "echo: a b",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "echo: "),
        ([{"role": "user", "content": None}], "echo: "),
        (
            [{"role": "user", "content": "\u2028 \U0001f600 data: x\n\ndata: y"}],
            "echo: \u2028 \U0001f600 data: x\n\ndata: y",
        ),
    ],
)
def test_last_user_message(client: openai.OpenAI, messages: Any, text: str) -> None:
    """Text parts are joined, other parts and roles left out, and nothing in it can break a stream."""
    streamed = client.chat.completions.create(model="m", messages=messages, stream=True)

    assert client.chat.completions.create(model="m", messages=messages).choices[0].message.content == text
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text


# -- structured output


class Colour(BaseModel):
    """Nested, with an optional field."""

    name: str
    alpha: float | None


class Palette(BaseModel):
    """What a schema commonly holds."""

    title: str
    size: int
    colours: list[Colour]
    main: Colour
    dark: bool


def test_chat_parse(client: openai.OpenAI) -> None:
    """A pydantic class comes back as its smallest instance."""
    completion = chat_helper(client).parse(model="m", messages=HELLO, response_format=Palette)

    expected = Palette(title="", size=0, colours=[], main=Colour(name="", alpha=None), dark=False)
    assert completion.choices[0].message.parsed == expected


def test_json_object(client: openai.OpenAI) -> None:
    """JSON mode answers with a JSON object that holds the message."""
    completion = client.chat.completions.create(
        model="m", messages=HELLO, response_format={"type": "json_object"}
    )

    assert json.loads(completion.choices[0].message.content or "") == {"echo": HELLO[-1]["content"]}


SCHEMAS: list[tuple[Any, Any]] = [
    ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
    ({"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": ""}),
    ({"const": 5}, 5),
    ({"enum": ["x", "y"]}, "x"),
    ({"type": ["string", "null"]}, None),
    ({"type": ["string", "integer"]}, ""),
    ({"type": []}, None),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 0),
    ({"allOf": [{"type": "boolean"}]}, False),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    ({"type": "string", "minLength": 3}, "xxx"),
    ({"type": "string", "format": "date"}, "1970-01-01"),
    ({"type": "integer", "minimum": 3}, 3),
    ({"type": "integer", "exclusiveMinimum": 3}, 4),
    ({"type": "number", "maximum": -2}, -2),
    ({"type": "number", "exclusiveMaximum": 0}, -1),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}}, False),
    (
        {
            "$ref": "#/$defs/n",
            "$defs": {"n": {"type": "object", "required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}}}},
        },
        {"n": {}},
    ),
    ({}, None),
]


@pytest.mark.parametrize(("schema", "instance"), SCHEMAS)
def test_instance_of_a_schema(client: openai.OpenAI, schema: Any, instance: Any) -> None:
    """The smallest value that the common keywords allow."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    completion = client.chat.completions.create(model="m", messages=HELLO, response_format=wanted)

    assert json.loads(completion.choices[0].message.content or "") == instance


@pytest.mark.parametrize(
    "schema", [{"enum": 1}, {"type": "array", "minItems": "a"}, {"type": "object", "required": 1}]
)
def test_unreadable_schema(client: openai.OpenAI, schema: Any) -> None:
    """A schema that is none is an error, not a crash."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}

    with pytest.raises(openai.BadRequestError, match="schema"):
        client.chat.completions.create(model="m", messages=HELLO, response_format=wanted)


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few words whose instance has twice as many values with each of *levels*."""
    schemas: dict[str, Any] = {f"{levels}": {"type": "integer"}}
    for at in range(levels):
        inner = {"$ref": f"#/$defs/{at + 1}"}
        schemas[f"{at}"] = {"required": ["a", "b"], "properties": {"a": inner, "b": inner}}
    return {"$ref": "#/$defs/0", "$defs": schemas}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 300_000_000},
        {"type": "string", "minLength": 3e8},
        {"type": "array", "minItems": 10**12},
        {"type": "array", "minItems": 10**4, "items": {"type": "array", "minItems": 10**4}},
        {"type": "array", "minItems": 10**4, "items": {"type": "string", "minLength": 10**4}},
        {"type": "array", "minItems": 10**4, "items": {"const": "x" * 10**4}},
        {"type": "array", "minItems": 10**4, "items": {"type": "object", "required": ["x" * 10**4]}},
        doubling(60),
    ],
)
def test_schema_that_asks_for_too_much(client: openai.OpenAI, schema: Any) -> None:
    """However few words it takes, an answer has an end."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}

    with pytest.raises(openai.BadRequestError, match="asks for more than 262144 characters"):
        client.chat.completions.create(model="m", messages=HELLO, response_format=wanted)


@pytest.mark.parametrize(
    ("schema", "characters"),
    [
        ({"type": "string", "minLength": 250_000}, 250_002),
        ({"type": "array", "minItems": 50_000, "items": {"type": "integer"}}, 150_000),
        (doubling(10), 1023 * 14 + 1024),
        ({"type": "string", "minLength": -1}, 2),
        ({"type": "array", "minItems": -1}, 2),
    ],
)
def test_schema_that_asks_for_much(client: openai.OpenAI, schema: Any, characters: int) -> None:
    """What can be had is made."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    completion = client.chat.completions.create(model="m", messages=HELLO, response_format=wanted)

    assert len(completion.choices[0].message.content or "") == characters


# -- Responses


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("hi there", "echo: hi there"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "echo: a"),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "c"}]}], "echo: c"),
    ],
)
def test_responses(client: openai.OpenAI, given: Any, text: str) -> None:
    """Input as text or as items; the answer says what was asked."""
    response = client.responses.create(model="m", input=given, instructions="Be brief.", metadata={"a": "b"})

    assert response.output_text == text
    assert (response.status, response.model, response.created_at) == ("completed", "echo/m", CREATED)
    assert (response.instructions, response.metadata) == ("Be brief.", {"a": "b"})


def test_responses_usage(client: openai.OpenAI) -> None:
    """Words again, instructions included."""
    usage = client.responses.create(model="m", input="hi there", instructions="Be brief.").usage

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (4, 3, 7)


def test_responses_stream(client: openai.OpenAI) -> None:
    """All events that OpenAI sends for a text, numbered from 0."""
    events = list(client.responses.create(model="m", input="hi", stream=True))

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [getattr(event, "sequence_number", None) for event in events] == list(range(10))


def test_responses_stream_helper(client: openai.OpenAI) -> None:
    """The SDK's accumulator arrives at the same response as an answer in one piece."""
    with client.responses.stream(model="m", input="hi there") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()

    assert text == final.output_text == "echo: hi there"
    assert final.usage is not None


def test_responses_parse(client: openai.OpenAI) -> None:
    """Structured output works on Responses too."""
    parsed = client.responses.parse(model="m", input="hi", text_format=Colour).output_parsed

    assert parsed == Colour(name="", alpha=None)


# -- embeddings and sound


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [("one two", 1, 2), (["one", "two three"], 2, 3), ([7, 8, 9], 1, 3), ([[7], [8, 9]], 2, 3)],
)
def test_embeddings(client: openai.OpenAI, given: Any, count: int, tokens: int) -> None:
    """A vector of length 1 for each text, or list of tokens; which of its forms the SDK asks for changes nothing."""
    found, packed = (
        client.embeddings.create(model="m", input=given, encoding_format=form) for form in ("float", "base64")
    )

    assert [item.index for item in found.data] == list(range(count))
    for item, other in zip(found.data, packed.data, strict=True):
        assert math.hypot(*item.embedding) == pytest.approx(1)
        assert unpacked(other.embedding) == pytest.approx(item.embedding, abs=1e-6)
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == ("echo/m", tokens, tokens)


def unpacked(embedding: Any) -> list[float]:
    """Numbers in base64, which the SDK leaves as they are for those who ask for them."""
    data = base64.b64decode(embedding)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def test_embedding_of_the_same_text(client: openai.OpenAI) -> None:
    """The same text has the same vector, wherever it stands; another text another one."""
    one, two, three = client.embeddings.create(model="m", input=["a", "b", "a"]).data

    assert one.embedding == three.embedding != two.embedding


@pytest.mark.parametrize("size", [1, 300])
def test_dimensions(client: openai.OpenAI, size: int) -> None:
    """As many numbers as are asked for."""
    assert len(client.embeddings.create(model="m", input="a", dimensions=size).data[0].embedding) == size


@pytest.mark.parametrize("size", [-1, 4097, 1.5, "8", True])
def test_impossible_dimensions(client: openai.OpenAI, size: Any) -> None:
    """Fewer than one, more than 4096, or no number: an error that names the field."""
    with pytest.raises(openai.BadRequestError, match="between 1 and 4096") as caught:
        client.embeddings.create(model="m", input="a", dimensions=size)

    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("given", [1, 1.5, True, {}, [1.5], ["a", 1], [["a"]], [None]])
def test_input_that_is_no_text(client: openai.OpenAI, given: Any) -> None:
    """What nobody could embed is an error that names the field."""
    with pytest.raises(openai.BadRequestError, match="must be a text") as caught:
        client.embeddings.create(model="m", input=given)

    assert caught.value.param == "input"


def test_speech(client: openai.OpenAI) -> None:
    """A WAV file that players can open, without a sound in it."""
    sound = client.audio.speech.create(model="m", input="hi", voice="alloy").content

    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (
            1,
            2,
            8000,
            0,
        )


def test_transcription(client: openai.OpenAI) -> None:
    """The word ``echo``."""
    assert client.audio.transcriptions.create(model="m", file=("a.wav", b"sound")).text == "echo"


# -- answers that a request brings along


@pytest.mark.parametrize("stream", [False, True])
def test_mocked(*, stream: bool) -> None:
    """The text, as the model that was asked for says it."""
    for path in ("/chat/completions", "/responses"):
        reply = mocked(path, {"model": "gpt-4o", "stream": stream, "input": "hi"}, "as told", "mark")
        said = b"".join(reply.chunks).decode()

        assert "told" in said
        assert '"model":"gpt-4o"' in said
        assert "echo" not in said
        assert reply.content_type == ("text/event-stream" if stream else "application/json")


@pytest.mark.parametrize("path", ["/embeddings", "/audio/speech", "/audio/transcriptions"])
def test_mocked_where_answers_are_no_text(path: str) -> None:
    """An error that names the parameter, instead of an answer that no SDK can read."""
    with pytest.raises(ContractError) as caught:
        mocked(path, {}, "as told", "mark")

    assert caught.value.reply.status == 400
    assert json.loads(caught.value.reply.chunks[0])["error"]["param"] == "mock_response"


# -- awaited


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Async generator '(openai|httpx)")  # the SDK stops at [DONE]; trio tells
async def test_async_answers(family: str) -> None:
    """The same answers on asyncio and trio, streamed and not."""
    async with async_sdk(family, LocalGateway.echo()) as client:
        completion = await client.chat.completions.create(model="m", messages=HELLO)
        chunks = [
            c async for c in await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        ]
        async with client.responses.stream(model="m", input="hi") as stream:
            final = await stream.get_final_response()

    assert completion.choices[0].message.content == TEXT
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert final.output_text == "echo: hi"


def test_repr() -> None:
    """It shows how it was made."""
    assert repr(Echo("parrot")) == "Echo('parrot')"
