"""The summary in streams as openai-python reads them: what it accumulates is what it would be without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from respan_openai.local.breakdown import BreakdownEvents, with_breakdown, with_token_breakdown
from respan_openai.local.usage import tokens_of, with_cache_counters
from respan_openai.local.usage_stream import UsageHider, with_usage


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


CHAT, RESPONSES = "/chat/completions", "/responses"
SUMMARY = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5, "cached": False, "scores": {}}
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 2},
}
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 17, "model": "m", "system_fingerprint": "fp"}
ASK = {"messages": [{"role": "user", "content": "Hi"}], "model": "m"}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def event(thing: Any) -> bytes:
    name = f"event: {thing['type']}\n" if "type" in thing else ""
    return f"{name}data: {json.dumps(thing)}\n\n".encode()


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


ROLE = chunk({"role": "assistant", "content": ""})
STREAMS = {
    "text": [ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")],
    "cut off": [ROLE, chunk({"content": "Hel"}), chunk({}, "length")],
    "refusal": [ROLE, chunk({"content": None, "refusal": "No"}), chunk({}, "content_filter")],
    "tool calls": [ROLE, chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls")],
    "two choices": [
        *(chunk({"role": "assistant", "content": text}, index=index) for index, text in enumerate("ab")),
        *(chunk({}, reason, index) for index, reason in enumerate(["stop", "length"])),
    ],
}
COUNTED = {**HEAD, "choices": [], "usage": USAGE}
DONE = b"data: [DONE]\n\n"


def sent(name: str, *, counted: bool) -> list[bytes]:
    """A stream as a provider sends it, asked for its usage or not."""
    chunks = [{**one, "usage": None} for one in STREAMS[name]] + [COUNTED] if counted else STREAMS[name]
    return [*map(event, chunks), DONE]


def through(events: Iterable[bytes], *passed: Callable[[bytes], list[bytes]]) -> Iterator[bytes]:
    """*events* as they are after each of *passed*."""
    for one in passed:
        events = [out for event in events for out in one(event)]
    return iter(events)


def client(library: Any, content: Any, kind: str = "text/event-stream") -> openai.OpenAI:
    """The SDK's client of a provider that answers *content* to everything."""
    answer = library.MockTransport(
        lambda _: library.Response(200, headers={"content-type": kind}, content=content)
    )
    http = library.Client(transport=answer)
    return openai.OpenAI(api_key="k", base_url="http://local.invalid/v1", http_client=http, max_retries=0)


def helper(sdk: openai.OpenAI) -> Any:
    """``.stream()``, which was in beta up to openai 1.91."""
    found = getattr(sdk.chat.completions, "stream", None)
    return found or sdk.beta.chat.completions.stream


def accumulated(library: Any, events: Iterable[bytes]) -> Any:
    """The completion that ``.stream()`` makes of *events*; its final one is an error where it was cut off."""
    with client(library, b"".join(events)) as sdk, helper(sdk)(**ASK) as stream:
        return stream.until_done().current_completion_snapshot


def chunks_of(library: Any, events: Iterable[bytes]) -> list[Any]:
    """The chunks that ``create(stream=True)`` yields."""
    with client(library, b"".join(events)) as sdk:
        return list(sdk.chat.completions.create(**ASK, stream=True))


def summed_up() -> Callable[[bytes], list[bytes]]:
    return BreakdownEvents(CHAT, lambda: SUMMARY).passed


# -- chat


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("counted", [False, True], ids=["usage not asked for", "usage asked for"])
def test_the_accumulated_completion_is_the_same(library, name, counted) -> None:
    """Role, content, tool calls, reasons to finish, usage, model, fingerprint: all as without it."""
    events = sent(name, counted=counted)
    plain = accumulated(library, events)
    found = accumulated(library, through(events, summed_up()))

    assert found.model_dump() == plain.model_dump()
    assert (found.usage is not None and found.usage.to_dict()) == (counted and USAGE)
    assert found.choices[0].message.role == "assistant"


class Greeting(BaseModel):
    """What a structured answer is parsed into."""

    text: str


@pytest.mark.parametrize("summed", [False, True], ids=["plain", "summed up"])
def test_structured_output_is_parsed(library, summed) -> None:
    """Once at the end of the content, and in the final completion."""
    chunks = [ROLE, chunk({"content": '{"text": '}), chunk({"content": '"Hello"}'}), chunk({}, "stop")]
    content = b"".join(through([*map(event, chunks), DONE], *([summed_up()] if summed else [])))

    with client(library, content) as sdk, helper(sdk)(**ASK, response_format=Greeting) as stream:
        done = [one for one in stream if one.type == "content.done"]
        final = stream.get_final_completion()

    assert [one.parsed for one in done] == [Greeting(text="Hello")]
    assert final.choices[0].message.parsed == Greeting(text="Hello")


@pytest.mark.parametrize("counted", [False, True], ids=["usage not asked for", "usage asked for"])
def test_the_summary_is_one_chunk(library, counted) -> None:
    """It is found by its id, comes last but for the usage, and no usage is told twice."""
    chunks = chunks_of(library, through(sent("text", counted=counted), summed_up()))

    (ours,) = (one for one in chunks if one.id == "request_breakdown")
    assert ours.choices[0].request_breakdown == SUMMARY
    assert ours.model == "extra_parameter"
    assert chunks.index(ours) == len(chunks) - (2 if counted else 1)
    assert sum(one.usage.total_tokens for one in chunks if one.usage) == (7 if counted else 0)


def documented(before: bytes) -> list[bytes]:
    """The chunk with every value as reference 003:3 has it ("Streaming Response"), before the end."""
    choice = {
        "delta": {"content": None, "role": "assistant"},
        "finish_reason": "stop",
        "request_breakdown": SUMMARY,
        "index": 0,
        "message": {"content": None, "role": "assistant"},
    }
    last = {
        "id": "request_breakdown",
        "choices": [choice],
        "created": 1706100589,
        "model": "extra_parameter",
        "object": "chat.completion.chunk",
        "system_fingerprint": None,
        "usage": {},
    }
    return [event(last), before] if before == DONE else [before]


def test_why_the_chunk_is_not_sent_as_it_is_documented(library) -> None:
    """openai-python would add it to the answer: four fields of the completion would be wrong."""
    events = sent("tool calls", counted=True)
    spoilt = accumulated(library, through(events, documented))
    plain = accumulated(library, events)

    assert (plain.choices[0].message.role, spoilt.choices[0].message.role) == (
        "assistant",
        "assistantassistant",
    )
    assert (plain.choices[0].finish_reason, spoilt.choices[0].finish_reason) == ("tool_calls", "stop")
    assert (plain.usage.to_dict(), spoilt.usage.to_dict()) == (USAGE, {})
    assert (plain.system_fingerprint, spoilt.system_fingerprint) == ("fp", None)


@pytest.mark.parametrize("name", STREAMS)
def test_a_usage_that_was_only_asked_for_by_us_is_hidden(library, name) -> None:
    """The chunks are those of a stream that nobody asked, and the summary can tell the usage."""
    hider = UsageHider()
    chunks = chunks_of(library, through(sent(name, counted=True), hider.passed))
    plain = chunks_of(library, sent(name, counted=False))

    assert [one.to_dict() for one in chunks] == [one.to_dict() for one in plain]
    assert hider.usage == USAGE


def test_hidden_usage_and_summary_together(library) -> None:
    """The completion is as if neither had been there, and the summary comes when the usage is known."""
    hider = UsageHider()
    ours = BreakdownEvents(CHAT, lambda: {"usage": hider.usage})
    events = list(through(sent("text", counted=True), hider.passed, ours.passed))

    plain = accumulated(library, sent("text", counted=False))
    assert accumulated(library, events).model_dump() == plain.model_dump()
    assert chunks_of(library, events)[-1].choices[0].request_breakdown == {"usage": USAGE}


def test_counters_and_kinds_reach_the_caller_of_a_stream(library) -> None:
    """The SDK passes on the fields that it does not know."""

    def change(usage: dict[str, Any]) -> dict[str, Any]:
        return with_token_breakdown(with_cache_counters(usage, CHAT), tokens_of(usage))

    usage = accumulated(library, [with_usage(one, CHAT, change) for one in sent("text", counted=True)]).usage

    assert usage.total_tokens == 7
    assert usage.cache_read_input_tokens == 2
    assert usage.token_breakdown == {"prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": 2}


def test_a_whole_completion(library) -> None:
    """The summary is at the top level, and everything else is as it was."""
    message = {"role": "assistant", "content": "Hello"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
    whole["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    content = json.dumps(with_breakdown(whole, SUMMARY)).encode()

    with client(library, content, "application/json") as sdk:
        found = sdk.chat.completions.create(**ASK)

    assert found.request_breakdown == SUMMARY
    assert found.choices[0].message.content == "Hello"
    assert found.usage.total_tokens == 7


# -- Responses


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
PART = {"type": "output_text", "text": "", "annotations": []}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
ITEM_DONE = {**ITEM, "status": "completed", "content": [{**PART, "text": "Hello"}]}
RESPONSE_USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 7,
}
RESPONSE_DONE = {**RESPONSE, "status": "completed", "output": [ITEM_DONE], "usage": RESPONSE_USAGE}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.content_part.added", **AT, "part": PART},
    {"type": "response.output_text.delta", **AT, "delta": "Hello", "logprobs": []},
    {"type": "response.output_text.done", **AT, "text": "Hello", "logprobs": []},
    {"type": "response.content_part.done", **AT, "part": {**PART, "text": "Hello"}},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEM_DONE},
    {"type": "response.completed", "response": RESPONSE_DONE},
]


def responses_sent() -> list[bytes]:
    return [event({**one, "sequence_number": number}) for number, one in enumerate(RESPONSE_EVENTS)]


def responses_summed_up() -> Iterator[bytes]:
    return through(responses_sent(), BreakdownEvents(RESPONSES, lambda: SUMMARY).passed)


def streamed(library: Any, events: Iterable[bytes]) -> list[Any]:
    """The events that ``responses.create(stream=True)`` yields."""
    with client(library, b"".join(events)) as sdk:
        return list(sdk.responses.create(model="m", input="Hi", stream=True))


def test_a_streamed_response_has_the_summary_where_a_whole_one_has_it(library) -> None:
    """In the response of its last event; the events are the same ones, and of the same types."""
    found, plain = streamed(library, responses_summed_up()), streamed(library, responses_sent())
    ours = found[-1].response

    assert [type(one) for one in found] == [type(one) for one in plain]
    assert found[:-1] == plain[:-1]
    assert ours.to_dict() == {**plain[-1].response.to_dict(), "request_breakdown": SUMMARY}
    assert (ours.output_text, ours.usage.total_tokens) == ("Hello", 7)


def test_the_accumulated_response_has_the_summary(library) -> None:
    """``responses.stream()`` hands it out with its final response."""
    with client(library, b"".join(responses_summed_up())) as sdk:
        if not hasattr(sdk.responses, "stream"):
            pytest.skip("this openai has no responses.stream()")
        with sdk.responses.stream(model="m", input="Hi") as stream:
            found = stream.get_final_response()

    assert found.request_breakdown == SUMMARY
    assert (found.output_text, found.usage.total_tokens) == ("Hello", 7)


def test_a_whole_response(library) -> None:
    """The summary is at the top level, and everything else is as it was."""
    content = json.dumps(with_breakdown(RESPONSE_DONE, SUMMARY)).encode()

    with client(library, content, "application/json") as sdk:
        found = sdk.responses.create(model="m", input="Hi")

    assert found.request_breakdown == SUMMARY
    assert (found.output_text, found.usage.total_tokens) == ("Hello", 7)
