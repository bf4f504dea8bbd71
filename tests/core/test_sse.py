"""The watch by hand: bytes in, and what is known of them, cut in every way; and the SDK's decoder beside ours."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai import _streaming
from openai._streaming import SSEDecoder

from respan_openai._core.sse import Decoder, Watch
from respan_openai._core.steps import EventTooLarge


CHAT = "/chat/completions"
RESPONSES = "/responses"
SPEECH = "/audio/speech"
MAX = 1 << 24


def event(data, name: str | None = None, end: str = "\n") -> bytes:
    """One event as it stands on the wire; *data* that is no string is written as JSON."""
    lines = [] if name is None else [f"event: {name}"]
    lines.append("data: " + (data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))))
    return end.join([*lines, "", ""]).encode()


def delta(index=0, **fields) -> dict:
    return {"index": index, "delta": fields, "finish_reason": None}


def chunk(*choices, **fields) -> dict:
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": list(choices), **fields}


def ended(reason, index=0) -> dict:
    return {"index": index, "delta": {}, "finish_reason": reason}


def said(text: str, number: int = 1, **fields) -> bytes:
    """One text delta of the Responses API, as OpenAI writes it."""
    kind = "response.output_text.delta"
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    data = {"type": kind, "sequence_number": number, **place, "delta": text, "logprobs": [], **fields}
    return event(data, kind)


HELLO = event(chunk(delta(content="Hello")))
DONE = event("[DONE]")


def feed_all(watch: Watch, *chunks: bytes) -> None:
    for piece in chunks:
        watch.feed(piece)


def watched(*chunks: bytes, path: str = CHAT, **options) -> Watch:
    """A watch that saw the whole stream."""
    watch = Watch(path, **{"max_event": MAX, **options})
    feed_all(watch, *chunks)
    watch.close()
    return watch


def state(watch: Watch) -> dict:
    """All that a watch tells."""
    names = (
        "content",
        "events",
        "done",
        "error",
        "garbage",
        "usage",
        "model",
        "finish",
        "complete",
        "flagged",
    )
    return {name: getattr(watch, name) for name in (*names, "text", "plain")}


def in_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


# --- chat: what is content, what is plain ------------------------------------


@pytest.mark.parametrize(
    ("fields", "content", "plain"),
    [
        ({"role": "assistant"}, 0, True),
        ({"role": "assistant", "content": ""}, 0, True),
        ({"role": "assistant", "content": None, "refusal": None}, 0, True),
        ({}, 0, True),
        ({"content": "a"}, 1, True),
        ({"role": "assistant", "content": " "}, 1, True),
        ({"content": [{"type": "text"}]}, 1, False),
        ({"refusal": "no"}, 1, False),
        ({"reasoning_content": "hm", "content": None}, 1, False),
        ({"reasoning": "hm", "content": ""}, 1, False),
        ({"reasoning": ""}, 0, True),
        ({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, 1, False),
        ({"tool_calls": []}, 0, True),
        ({"function_call": {"name": "f"}}, 1, False),
        ({"audio": {"id": "a"}}, 1, False),
        ({"something_new": 1}, 0, False),
    ],
)
def test_what_is_content_in_a_chat(fields, content, plain) -> None:
    """Whatever a user is shown or acts on; a role alone, or an empty text, is not."""
    watch = watched(event(chunk(delta(**fields))))

    assert (watch.events, watch.content, watch.plain) == (1, content, plain)


@pytest.mark.parametrize(
    ("data", "content", "plain"),
    [
        (chunk(), 0, True),
        (chunk(usage={"total_tokens": 3}), 0, True),
        (chunk(ended("stop")), 1, True),
        (chunk(ended("")), 0, True),
        (chunk(ended(7)), 0, True),
        (chunk({**delta(content="a"), "logprobs": {"content": []}}), 1, False),
        (chunk({**delta(content="a"), "logprobs": None}), 1, True),
        (chunk(delta(1, content="a")), 1, False),
        (chunk(delta(0, content="a"), delta(1, content="b")), 1, False),
        (chunk(delta("x", content="a")), 1, False),
        (chunk(delta(0, content="a"), delta(0, content="")), 1, True),
        (chunk({"index": 0, "delta": "x"}), 0, True),
        (chunk({"delta": {"content": "a"}}), 1, True),
        (chunk({"index": 0, "delta": None}), 0, True),
        (chunk(None, 1, "x"), 0, True),
        ({"choices": None}, 0, True),
        ({"choices": {"delta": {"content": "a"}}}, 0, True),
        ({}, 0, True),
    ],
)
def test_what_is_content_around_a_delta(data, content, plain) -> None:
    """A reason to finish is, since an answer may be empty; nothing of an odd shape is, and nothing breaks on it."""
    watch = watched(event(data))

    assert (watch.events, watch.content, watch.plain, watch.garbage) == (1, content, plain, None)


def test_an_event_with_two_choices_counts_once() -> None:
    """Both are read, and only the text of the first is kept."""
    watch = watched(event(chunk(delta(1, content="b"), delta(0, content="a"))))

    assert (watch.content, watch.text, watch.finish) == (1, "a", {1: None, 0: None})


@pytest.mark.parametrize("silence", [b": OPENROUTER PROCESSING\n\n", b"\n\n", b":\r\n\r\n", b"retry", b""])
def test_keep_alives_are_no_events(silence) -> None:
    """Comments and blank lines leave everything as it was."""
    assert state(watched(silence)) == state(Watch(CHAT, max_event=MAX))


# --- chat: the end -----------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "complete", "flagged"),
    [
        (b"", False, False),
        (event(chunk(delta(role="assistant"))), False, False),
        (HELLO, False, False),
        (HELLO + event(chunk(ended("stop"))), True, False),
        (HELLO + event(chunk(ended("stop"))) + DONE, True, False),
        (event(chunk(ended("tool_calls"))), True, False),
        (event(chunk(ended("function_call"))), True, False),
        (event(chunk(ended("length"))), True, True),
        (event(chunk(ended("content_filter"))) + DONE, True, True),
        (event(chunk(ended("error"))), True, True),
        (HELLO + DONE, True, True),
        (DONE, True, True),
        (event(chunk(usage={"total_tokens": 3})), False, False),
        (event(chunk(ended("stop"))) + event(chunk(delta(1, content="b"))), False, False),
        (event(chunk(ended("stop"), ended("length", 1))), True, True),
        (event(chunk(ended("stop"), ended("stop", 1))), True, False),
        (event(chunk(ended("stop"))) + HELLO, True, False),
    ],
)
def test_the_end_of_a_chat(stream, complete, flagged) -> None:
    """It has ended when every choice that began has finished, or with [DONE]; and well only for a good reason."""
    watch = watched(stream)

    assert (watch.complete, watch.flagged) == (complete, flagged)


def test_reasons_are_kept_by_choice() -> None:
    """A reason is not taken back by an event that comes after it."""
    watch = watched(event(chunk(ended("stop"), delta(2, content="c"))), HELLO)

    assert watch.finish == {0: "stop", 2: None}


@pytest.mark.parametrize("mark", ["[DONE]", "[DONE] bye"])
def test_nothing_after_done_is_looked_at(mark) -> None:
    """As in the SDK; neither content nor garbage."""
    watch = watched(HELLO, event(mark) + HELLO, b"data: {\n\n", b"\xff\n", HELLO)

    assert (watch.done, watch.events, watch.content, watch.garbage) == (True, 1, 1, None)


# --- responses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "content", "plain"),
    [
        ("response.created", {}, 0, True),
        ("response.queued", {}, 0, True),
        ("response.in_progress", {}, 0, True),
        ("response.output_item.added", {"item": {"type": "message"}}, 0, True),
        ("response.output_item.added", {"item": {"type": "function_call"}}, 0, False),
        ("response.content_part.added", {"part": {"type": "output_text"}}, 0, True),
        ("response.content_part.added", {"part": {"type": "refusal"}}, 0, False),
        ("response.output_text.delta", {"delta": "a", "output_index": 0, "content_index": 0}, 1, True),
        ("response.output_text.delta", {"delta": "a", "output_index": 1}, 1, False),
        ("response.output_text.delta", {"delta": "a", "content_index": 1}, 1, False),
        ("response.output_text.delta", {"delta": "a", "logprobs": [{"token": "a"}]}, 1, False),
        ("response.refusal.delta", {"delta": "a"}, 1, False),
        ("response.reasoning_summary_text.delta", {"delta": "a"}, 1, False),
        ("response.function_call_arguments.delta", {"delta": "{"}, 1, False),
        ("response.output_text.done", {"text": "a"}, 0, True),
        ("response.web_search_call.searching", {}, 0, False),
        ("response.completed", {}, 1, True),
        ("response.incomplete", {}, 1, True),
        ("response.failed", {}, 0, True),
        ("error", {"message": "m"}, 0, True),
        (["odd"], {}, 0, False),
    ],
)
def test_what_is_content_in_a_response(kind, fields, content, plain) -> None:
    """Every delta, and the ends of an answer, but for failures."""
    watch = watched(event({"type": kind, **fields}), path=RESPONSES)

    assert (watch.events, watch.content, watch.plain) == (1, content, plain)


def test_an_event_without_a_type_goes_by_its_name() -> None:
    """The name of the SSE event stands in for it."""
    watch = watched(event({"delta": "a"}, "response.output_text.delta"), path=RESPONSES)

    assert (watch.content, watch.text) == (1, "a")


@pytest.mark.parametrize(
    ("kind", "complete", "flagged"),
    [
        ("response.output_text.delta", False, False),
        ("response.completed", True, False),
        ("response.incomplete", True, True),
        ("response.failed", True, True),
        ("error", True, True),
    ],
)
@pytest.mark.parametrize("done", [b"", DONE])
def test_the_end_of_a_response(kind, complete, flagged, done) -> None:
    """One of its own events ends it, and [DONE] does not."""
    watch = watched(event({"type": kind}) + done, path=RESPONSES)

    assert (watch.complete, watch.flagged) == (complete, flagged)
    assert watch.finish == ({0: kind} if complete else {})


# --- errors and garbage ------------------------------------------------------

ERROR = {"message": "m", "code": "rate_limit_exceeded", "type": "t"}


@pytest.mark.parametrize(
    ("path", "data", "name", "error"),
    [
        (CHAT, {"error": ERROR}, None, ERROR),
        (CHAT, {"error": ERROR, **chunk(ended("error"))}, None, ERROR),
        (CHAT, {"error": "overloaded"}, None, {"message": "overloaded"}),
        (CHAT, {"error": ["odd"]}, None, {"message": ["odd"]}),
        (CHAT, chunk(error=None), None, None),
        (CHAT, chunk(error={}), None, None),
        (CHAT, {"message": "m"}, "error", None),
        (RESPONSES, {"error": ERROR}, None, ERROR),
        (RESPONSES, {"type": "error", "error": ERROR}, "error", ERROR),
        (
            RESPONSES,
            {"type": "error", "message": "m", "code": "c"},
            None,
            {"type": "error", "message": "m", "code": "c"},
        ),
        (RESPONSES, {"message": "m", "code": "c"}, "error", {"message": "m", "code": "c"}),
        (RESPONSES, {}, "error", {"type": "error"}),
        (RESPONSES, {"type": "response.failed", "response": {"error": ERROR}}, "response.failed", ERROR),
        (RESPONSES, {"type": "response.failed", "response": None}, None, {"type": "response.failed"}),
        (RESPONSES, {"type": "response.created", "response": {"error": None}}, None, None),
        (SPEECH, {"error": ERROR}, None, ERROR),
        (SPEECH, '{"\\u0065rror": {"code": 1}}', None, {"code": 1}),
        (SPEECH, {"x": {"error": ERROR}}, None, None),
        (SPEECH, {"type": "error", "message": "m"}, "error", None),
    ],
)
def test_errors_that_come_as_events(path, data, name, error) -> None:
    """Told as they came, and never content."""
    watch = watched(event(data, name), path=path)

    assert watch.error == error
    assert watch.error is None or watch.content == 0
    assert (watch.events, watch.garbage) == (1, None)


def test_the_first_error_stays() -> None:
    """What comes after it is counted, but is no other error."""
    watch = watched(HELLO, event({"error": ERROR}), event({"error": {"code": 2}}), HELLO)

    assert (watch.error, watch.events, watch.content) == (ERROR, 4, 2)


@pytest.mark.parametrize(
    ("stream", "garbage", "events"),
    [
        (b"data: {\n\n", "invalid JSON", 1),
        (b"data: oops\n\n", "invalid JSON", 1),
        (b"event: ping\n\n", "invalid JSON", 0),
        (b"data:\n\n", "invalid JSON", 0),
        (b"data: {}\nid: 1\n\n: still there\n\n", "invalid JSON", 1),
        (b'data: {"a": ' + b"9" * 5000 + b"}\n\n", "invalid JSON", 1),
        (b'data: {"a": "\t"}\n\n', "invalid JSON", 1),
        (b"data: " + b"[" * 200_000 + b"\n\n", "nested too deeply", 1),
        (b"data: [1]\n\n", "not an object", 1),
        (b'data: "x"\n\n', "not an object", 1),
        (b"data: null\n\n", "not an object", 1),
        (b'data: {"a": "\xff"}\n\n', "invalid UTF-8", 0),
        (b": \xff\n\n", "invalid UTF-8", 0),
        (b"data: \xed\xa0\x80\n\n", "invalid UTF-8", 0),
        (b": cut in a letter \xc3", "invalid UTF-8", 0),
        (b'data: {"a": NaN, "b": "\\ud800"}\n\n', None, 1),
        (b"data: {\ndata: }\n\n", None, 1),
        (b"data: {", None, 0),
        (b"event: pending", None, 0),
    ],
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_garbage(path, stream, garbage, events) -> None:
    """What would make the SDK raise, in fixed words."""
    watch = watched(stream, path=path)

    assert (watch.garbage, watch.events) == (garbage, events)


def test_nothing_after_garbage_is_looked_at() -> None:
    """The SDK would not get there either."""
    watch = watched(HELLO, b"data: {\n\n" + HELLO, b"data: []\n\n", DONE, b"\xff")

    assert (watch.garbage, watch.events, watch.content, watch.done) == ("invalid JSON", 2, 1, False)


def test_unknown_paths() -> None:
    """Every event with data is content, whatever it is, and [DONE] is the end of what is looked at."""
    odd = b"data: \xff\n\n", b"event: x\n\n", b": c\n\n", b'data: {"error": \\\n\n', b"data: [1]\n\n"
    watch = watched(HELLO, HELLO, *odd, DONE, HELLO, path=SPEECH)

    assert (watch.events, watch.content, watch.done, watch.garbage, watch.error) == (5, 5, True, None, None)
    assert (watch.complete, watch.flagged, watch.text, watch.finish) == (True, False, "", {})
    assert Watch(SPEECH, max_event=MAX).complete


# --- usage, model, text ------------------------------------------------------


def test_usage_and_model() -> None:
    """The newest that says something; Respan's summary at the end names no model and has no usage."""
    summary = {"id": "request_breakdown", "model": "extra_parameter", "choices": [{"index": 0}], "usage": {}}
    watch = watched(
        event(chunk(delta(role="assistant"), model="")),
        event(chunk(delta(content="a"), model="m-1", usage=None)),
        event(chunk(usage={"total_tokens": 2}, model="m-2")),
        event(summary),
        event(chunk(model="")),
    )

    assert (watch.usage, watch.model) == ({"total_tokens": 2}, "m-2")


def test_usage_and_model_of_a_response() -> None:
    """They stand in the response that an event carries."""
    response = {"model": "m-1", "usage": {"total_tokens": 2}}
    watch = watched(event({"type": "response.completed", "response": response}), path=RESPONSES)

    assert (watch.usage, watch.model) == ({"total_tokens": 2}, "m-1")


@pytest.mark.parametrize("text", ['say "hi"', "a\\b\n\t", "né ✓ 😀", "\u2028\x7f\x00", "\ud800", "\u00a0"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_text_is_what_was_said(text, ascii_only) -> None:
    """Whatever is in it, written with escapes or without, parsed or not."""
    raw = json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    piece = HELLO.replace(b'"Hello"', raw)
    watch = watched(HELLO, piece, HELLO)

    lone = text == "\ud800" and not ascii_only
    assert watch.garbage == ("invalid UTF-8" if lone else None)
    assert watch.text == ("Hello" if lone else f"Hello{text}Hello")


def test_text_of_a_pair_that_was_cut() -> None:
    """Halves of a surrogate pair that come one by one are one letter again, parsed or not."""
    halves = [HELLO.replace(b"Hello", half) for half in (rb"\ud83d", rb"\ude00")]

    assert watched(HELLO, *halves).text == watched(HELLO, *halves, exact=True).text == "Hello😀"


# --- events that are too large -----------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 2000,
        b": " + b"x" * 2000,
        b"x" * 2000,
        b"data: 12345\n" * 200,
        b"data:\n" * 400,
        b"data: " + b"x" * 2000 + b"\n\n",
        b"\xff" * 2000,
        HELLO.replace(b"Hello", b"x" * 2000),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_an_event_that_is_too_large(stream, size) -> None:
    """However it comes, and after what was before it; nothing else is looked at."""
    watch = watched(max_event=1000)

    whole = HELLO + stream

    with pytest.raises(EventTooLarge, match="larger than 1000 bytes"):
        feed_all(watch, *(whole[at : at + size] for at in range(0, len(whole), size)))
    feed_all(watch, b"\n\n" + HELLO)
    watch.close()

    assert (watch.events, watch.content, watch.garbage) == (1, 1, None)


def test_the_limit_is_for_one_event() -> None:
    """A stream of any length passes, and so do comments without a blank line between them."""
    stream = [b": keep-alive\n" * 10] * 50 + [HELLO] * 50

    assert watched(*stream, max_event=len(HELLO)).content == 50
    assert watched(*stream, max_event=len(HELLO), exact=True).content == 50


def test_an_endless_line_is_not_copied_again_and_again() -> None:
    """What all the chunks together have allocated is a few times the line, not its square."""
    watch, part, total = watched(), b"x" * 1024, 0

    tracemalloc.start()
    for _ in range(1024):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        watch.feed(part)
        total += tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()

    assert total < 16 * 1024 * len(part)


def test_a_watch_is_small() -> None:
    """A server may have thousands of them."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    watches = [Watch(CHAT, max_event=MAX) for _ in range(100)]
    each = (tracemalloc.get_traced_memory()[0] - before) / len(watches)
    tracemalloc.stop()

    assert each < 1000
    assert not hasattr(watches[0], "__dict__")


# --- the decoder, beside the SDK's -------------------------------------------

LINES = st.one_of(
    st.sampled_from(
        [b"data: {}", b"data:x", b"data", b"data:", b"data:  two", b"data: [DONE]", b"data: \xc3\xa9"]
    ),
    st.sampled_from(
        [b"event: e", b"event:", b"event", b"id: 1", b"id", b"id: \x00", b"retry: 5", b"retry: x"]
    ),
    st.sampled_from(
        [b":", b": comment", b"", b"", b"", b" data: x", b"datax: y", b"\xef\xbb\xbfdata: b", b"a:b:c"]
    ),
    st.sampled_from(
        [b"\xff", b": \xc3", b"data: \xe2\x82", b"data: \x0b\x0c\x1c\x85\xe2\x80\xa8", b"retry: \xd9\xa1"]
    ),
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\r", b"\n\n", b"\r\n\r\n", b"\r\r"])
SOUPS = st.builds(
    lambda lines, rest: b"".join(line + end for line, end in lines) + rest,
    st.lists(st.tuples(LINES, ENDS), max_size=12),
    st.sampled_from([b"", b"", b"data: cut", b"\xff", b"\xc3"]),
)


def theirs(*pieces: bytes) -> list:
    """The events of the SDK's decoder, with the error that ended them."""
    found: list = []
    try:
        found.extend((sse.event, sse.data) for sse in SSEDecoder().iter_bytes(iter(pieces)))
    except UnicodeDecodeError:
        # extend() keeps what came before.
        found.append(UnicodeDecodeError)
    return found


def ours(*pieces: bytes) -> list:
    decoder, found = Decoder(MAX), []
    try:
        for piece in pieces:
            found.extend(decoder.feed(piece))
        found.extend(decoder.close())
    except UnicodeDecodeError:
        found.append(UnicodeDecodeError)
    return found


@given(SOUPS)
@example(b"\xef\xbb\xbfdata: lost\n\ndata: seen\n\n")
@example(b"data: a\r\rdata: b\r\n\r\ndata: c\n\n")
@example(b"id: 1\ndata: a\n\n: comment\n\n")
@settings(max_examples=300)
def test_the_decoder_agrees_with_the_sdk(soup) -> None:
    """The same events in the same order, wherever the bytes are cut, up to the same error."""
    expected = theirs(soup)

    assert ours(soup) == expected
    assert ours(*in_bytes(soup)) == expected
    for at in range(len(soup) + 1):
        assert ours(soup[:at], b"", soup[at:]) == expected


@pytest.mark.skipif(
    not hasattr(_streaming, "_SSELineDecoder"), reason="older ones see a CRLF that is cut as two ends"
)
@given(SOUPS, st.lists(st.integers(0, 200), max_size=6))
def test_the_decoder_agrees_with_the_sdk_on_the_same_pieces(soup, cuts) -> None:
    """As above, with the SDK's fed the same pieces."""
    pieces = [soup[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(soup)])]

    assert ours(*pieces) == theirs(*pieces)


@pytest.mark.parametrize("before", [b"", b"id: 1\n\n", b"retry: 1\n", b"event: x\n", b": c", b"\r"])
@pytest.mark.parametrize(
    "piece",
    [
        b"data: a\n\n",
        b"data: \n\n",
        b"data:  a\n\n",
        b"data: a\n\n\n",
        b"data: a\n\n: c\n\n",
        b"data: a\r\n\n",
        b"data: a\rb\n\n",
        b"data: a\ndata: b\n\n",
        b"data: \xff\n\n",
        b"event: b\ndata: a\n\n",
        b"event: \ndata: a\n\n",
        b"event: b\rdata: a\n\n",
        b"event: b\nevent: c\ndata: a\n\n",
        b"event: \xff\ndata: a\n\n",
        b"event: b\n\n",
        b"event: b\nid: 2\n\n",
    ],
)
def test_a_piece_that_is_one_event_is_as_if_it_came_in_bytes(before, piece) -> None:
    """Most are of one form and read at once; what looks alike, or follows something unfinished, is not."""
    assert (
        ours(before, piece, piece)
        == ours(*in_bytes(before + piece + piece))
        == theirs(before + piece + piece)
    )


def end_of(found) -> str | None:
    """What ends the reading of the SDK at this event, if anything does."""
    if found is UnicodeDecodeError:
        return "invalid UTF-8"
    if found[1].startswith("[DONE]"):
        return "done"
    try:
        json.loads(found[1])
    except ValueError:
        return "invalid JSON"
    return None


@given(SOUPS)
def test_the_watch_ends_where_the_sdk_does(soup) -> None:
    """At [DONE], or at the first event of which the SDK could make nothing."""
    expected = next(filter(None, map(end_of, theirs(soup))), None)

    watch = watched(soup)

    assert ("done" if watch.done else watch.garbage) == expected


# --- what is not parsed ------------------------------------------------------


def variants(piece: bytes) -> list[bytes]:
    """The same event in other hands: spaces after separators, CRLF, another order of keys."""
    spaced = piece.replace(b'":', b'": ').replace(b',"', b', "')
    return [piece, spaced, piece.replace(b"\n", b"\r\n"), spaced.replace(b"\n", b"\r\n")]


REASONING = event(chunk(delta(content=None, reasoning_content="Hello")))
ARGUMENTS = event(chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": "Hello"}}])))
PADDED = event(chunk(delta(content="Hello"), obfuscation="aB3"))
USUAL = [
    *[(CHAT, piece) for piece in (*variants(HELLO), *variants(PADDED), REASONING, ARGUMENTS)],
    *[
        (RESPONSES, piece)
        for piece in (*variants(said("Hello")), *variants(said("Hello", 12, obfuscation="aB3")))
    ],
    (SPEECH, event({"type": "transcript.text.delta", "delta": "Hello"})),
    (SPEECH, event({"type": "?", "delta": "Hello"}).replace(b"?", b"\xff")),
]


@pytest.mark.parametrize(("path", "piece"), USUAL)
def test_the_usual_event_is_not_parsed(path, piece) -> None:
    """Once two were, those like them are counted without; alone in a chunk or among others."""
    watch = watched(piece, piece, path=path)
    other = piece.replace(b"Hello", rb" \"w\u00f6rld\" " + "✓".encode())

    assert not watch.skim(piece[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(json, "loads")
        feed_all(watch, piece, other, other * 3)

    assert state(watch) == state(watched(piece, piece, piece, *[other] * 4, path=path, exact=True))


def test_only_what_json_reads_so_is_not_parsed() -> None:
    """Each byte between two letters: counted or parsed, with the same outcome."""
    for byte in range(256):
        other = HELLO.replace(b"Hello", b"a%cb" % byte)
        assert state(watched(HELLO, HELLO, other, HELLO)) == state(
            watched(HELLO, HELLO, other, HELLO, exact=True)
        ), byte


def test_choices_that_are_none_begin_nothing() -> None:
    """An object or a text in the place of the list is no answer that could end."""
    for choices in ({"delta": {"content": "a"}}, "ab", 7, True):
        assert not watched(event({"choices": choices})).finish


def test_usage_stays_when_an_empty_one_follows() -> None:
    """Some providers send one with each event."""
    watch = watched(event(chunk(usage={"total_tokens": 1})), event(chunk(usage={})), event(chunk(usage=7)))

    assert watch.usage == {"total_tokens": 1}


def test_the_first_content_is_not_kept_waiting() -> None:
    """It is passed on before anything is made of it that only later events need."""
    watch = watched(HELLO)

    assert watch.content == 1
    assert not watch.skim(HELLO)
    watch.feed(HELLO)
    assert watch.skim(HELLO)


def test_a_template_follows_the_stream() -> None:
    """When something else changes, the next event is parsed, and those after it are not."""
    watch = Watch(CHAT, max_event=MAX)
    for second in range(3):
        piece = event(chunk(delta(content="Hello"), created=second))
        for _ in range(5):
            watch.feed(piece)
        assert watch.skim(piece)

    assert watch.content == 18


def test_a_stream_without_two_events_alike_is_left_alone() -> None:
    """Templates are tried for ever more rarely, if none is of use."""
    watch = Watch(CHAT, max_event=MAX)
    tries = set()
    for number in range(1000):
        watch.feed(event(chunk(delta(content="Hello"), id=str(number))))
        tries.add(watch._try_at)

    assert 10 < len(tries) < 40


@pytest.mark.parametrize(
    "piece",
    [
        event(chunk(delta(content="Hello"), usage={"total_tokens": 1})),
        event(chunk(delta(content="Hello"), delta(1, content="you"))),
        event(chunk({**ended("stop"), "delta": {"content": "Hello"}})),
        event(chunk(delta(role="assistant", content=""), note={"content": "Hello"})),
        event(chunk(delta(content="Hello"), x="y" * 1000)),
        b"id: 1\n" + HELLO,
        b"\n" + HELLO,
        HELLO.replace(b"\n\n", b"\nid: 1\n\n"),
        HELLO.replace(b"\n\n", b"\rid: 1\n\n"),
        HELLO.replace(b"\n", b"\r"),
        HELLO.replace(b'"content"', rb'"\u0063ontent"'),
        HELLO.replace(b'"content":', b'"content":"a","content":'),
        event({"error": {"content": "Hello"}}),
        event({"error": {}, "content": "Hello"}),
        HELLO.replace(b'"content"', rb'"content":"\n","reasoning"'),
        HELLO.replace(b'"content"', rb'"content":"\u007e","reasoning"'),
        HELLO.replace(b'"content"', b'"obfuscation":"","content"'),
    ],
)
def test_events_that_make_no_template(piece) -> None:
    """Those that say more than a text, or that leave something for the events after them."""
    watch = watched(piece, piece)

    assert not watch.skim(piece)
    watch.feed(piece)
    assert state(watch) == state(watched(piece, piece, piece, exact=True))


@pytest.mark.parametrize(
    ("number", "text", "padding", "fits"),
    [
        ("13", "you", "z9", True),
        ("13", " a b", "", True),
        ("9" * 18, rb"\"".decode(), "z9", True),
        ("0", "you", "z9", False),
        ("07", "you", "z9", False),
        ("-1", "you", "z9", False),
        ("1.5", "you", "z9", False),
        ("", "you", "z9", False),
        ("9" * 5000, "you", "z9", False),
        ("13", "", "z9", False),
        ("13", 'a"b', "z9", False),
        ("13", "a\\", "z9", False),
        ("13", "\\x", "z9", False),
        ("13", "a\tb", "z9", False),
        ("13", 'a","delta":"b', "z9", False),
        ("13", "you", 'z"', False),
        ("13", "you", "\\", False),
    ],
)
def test_what_fits_and_what_does_not(number, text, padding, fits) -> None:
    """Only what can be nothing but a number, or the inside of a string; anything else is parsed, with its outcome."""
    piece = said("Hello", 12, obfuscation="aB3")
    other = piece.replace(b"12", number.encode()).replace(b"Hello", text.encode())
    other = other.replace(b"aB3", padding.encode())

    assert watched(piece, piece, path=RESPONSES).skim(other) == fits
    assert state(watched(piece, piece, other, piece, path=RESPONSES)) == state(
        watched(piece, piece, other, piece, path=RESPONSES, exact=True)
    )


@pytest.mark.parametrize(
    "between",
    [
        [event(chunk(model="other"))],
        [event(chunk(ended("stop")))],
        [event(chunk(delta(reasoning="hm")))],
        [b"retry: 1\n"],
        [b"id: 1\n\n"],
        [b"event: x\n"],
        [b"data: \n"],
        [b": comment\r"],
        [b"dat"],
    ],
)
def test_what_comes_between_counts(between) -> None:
    """An event like the ones before is not taken for one, if those in between have changed what it means."""
    fed = [HELLO, HELLO, *between, HELLO, b"\n", HELLO]

    assert state(watched(*fed)) == state(watched(*fed, exact=True))


FILLINGS = st.one_of(
    st.text(max_size=6).map(lambda text: json.dumps(text)[1:-1].encode()),
    st.text(st.characters(codec="utf-8"), max_size=6).map(str.encode),
    st.lists(
        st.sampled_from(
            [b'"', b"\\", b"\n", b"\r", b"u0041", b"\\ud83d", b"\xff", b"\x1f", b"}", b'"content":"', b"a"]
        ),
        max_size=4,
    ).map(b"".join),
)
NUMBERS = st.sampled_from(
    [b"0", b"7", b"07", b"12345", b"1e3", b"-1", b"", b"1.5", b"9" * 18, b"9" * 5000, b'"1"']
)
PADDINGS = st.sampled_from([b"", b"aB3", b"a b", b'"', b"\\n", b"\\", b"\xc3\xa9", b"\xff", b"\n\ndata: {}"])
OTHERS = st.sampled_from(
    [
        *[
            DONE,
            b"\n",
            b": c\n\n",
            b"id: 1\n",
            b"id:\n",
            b"retry: 1\n",
            b"event: error\n",
            b"data: {}\n\n",
            b"data",
        ],
        event(chunk(delta(role="assistant", content=""))),
        event(chunk(delta(content="x"), model="other")),
        event(chunk(ended("stop"), delta(1, content="b"))),
        event(chunk(usage={"total_tokens": 1})),
        event({"error": ERROR}),
        event({"type": "response.completed", "response": {"model": "other", "usage": {"total_tokens": 1}}}),
    ]
)


@st.composite
def streams(draw):
    """A path and a stream for it: many events alike, differing where a template has holes, and others between."""
    path, piece = draw(st.sampled_from(USUAL))
    alike = st.builds(
        lambda text, number, padding: (
            piece.replace(b"Hello", text)
            .replace(b'"sequence_number":12', b'"sequence_number":' + number)
            .replace(b"aB3", padding)
        ),
        FILLINGS,
        st.just(b"12") | NUMBERS,
        st.just(b"aB3") | PADDINGS,
    )
    rest = draw(st.lists(st.one_of(alike, alike, st.just(piece), OTHERS), max_size=8))
    return path, [piece, *rest]


@given(streams(), st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=300)
def test_what_is_not_parsed_makes_no_difference(stream, cuts) -> None:
    """Event by event, cut anywhere, byte by byte, or each one parsed: the same is known in the end."""
    path, pieces = stream
    whole = b"".join(pieces)
    expected = state(watched(whole, path=path, exact=True))
    cut = [whole[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(whole)])]

    assert state(watched(whole, path=path)) == expected
    assert state(watched(*pieces, path=path)) == expected
    assert state(watched(*cut, path=path)) == expected
    assert state(watched(*in_bytes(whole), path=path)) == expected


@pytest.mark.parametrize(("path", "piece"), USUAL)
def test_every_cut(path, piece) -> None:
    """A stream cut in two anywhere, after a template was made, is known as well as one that is not cut."""
    stream = piece + piece.replace(b"Hello", rb"\n") + event(chunk(ended("stop"))) + piece + DONE
    expected = state(watched(stream, path=path, exact=True))

    for at in range(len(stream) + 1):
        assert state(watched(piece, stream[:at], stream[at:], path=path)) == {
            **expected,
            "content": expected["content"] + 1,
            "events": expected["events"] + 1,
            "text": "Hello" * (expected["text"] != "") + expected["text"],
        }


@given(st.sampled_from(USUAL), st.data())
@settings(max_examples=300)
def test_an_event_that_is_almost_the_usual_one(usual, data) -> None:
    """One byte more, less or other than what is expected is noticed wherever it would be when parsed."""
    path, piece = usual
    at = data.draw(st.integers(0, len(piece)))
    skipped = data.draw(st.integers(0, 2))
    byte = data.draw(
        st.sampled_from([b"", b'"', b"\\", b"\n", b"\r", b"\x00", b"\xff", b"{", b"}", b"0", b" ", b":"])
    )
    odd = piece[:at] + byte + piece[at + skipped :]

    fed = [piece, odd, piece]
    assert state(watched(*fed, path=path)) == state(watched(*fed, path=path, exact=True))


def test_a_limit_holds_for_what_is_not_parsed() -> None:
    """An event that fits the template, but is too large, is refused as any other."""
    watch = Watch(CHAT, max_event=len(HELLO) + 10)
    watch.feed(HELLO)

    with pytest.raises(EventTooLarge):
        watch.feed(HELLO.replace(b"Hello", b"x" * 100))
