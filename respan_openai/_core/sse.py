"""Watch a stream of Server-Sent Events go by: is there content yet, did it end properly, what text came.

1. Nothing is changed or held back: a ``Watch`` is shown each chunk, and remembers.
2. It sees what the SDK sees. ``Decoder`` yields the events that ``openai._streaming.SSEDecoder`` would, and reading
   ends where the SDK's does: at ``[DONE]``, or at the first event that cannot be read.
3. Two events in a row mostly differ in a few bytes of text. So one that was parsed leaves a ``_Template``: itself,
   with holes. What fits into it is not parsed. Around the holes the bytes are the same, and what fills them is
   checked to be the inside of a JSON string, or a number, so the parse would be the same as well. A template is
   used only once it is proved: what it makes of a sample was parsed, and changed the text and nothing else.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from .judge import end_flag
from .plain import DICT, LIST, as_object
from .steps import EventTooLarge


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Event = tuple[str | None, str]
    Json = dict[str, Any]
    Holes = tuple[tuple[int, bytes], ...]


# --- bytes to events ---------------------------------------------------------

_LF, _CR = _LINE_ENDS = b"\n\r"


class Decoder:
    """Bytes in, events out, cut anywhere; the same events as the SDK's decoder yields.

    Where that one differs from the HTML standard (section 9.2.6), so does this: a byte order mark is part of the
    first line, invalid UTF-8 is an error, an event may do without data, and after an id each blank line is one.

    Args:
        max_event: Bytes that the data lines of one event and the line at hand may have together.
        errors: What to do about invalid UTF-8, as in :meth:`bytes.decode`.
    """

    __slots__ = ("_after_cr", "_data", "_errors", "_has_id", "_has_retry", "_held", "_line", "_max", "_name")

    def __init__(self, max_event: int, errors: str = "strict") -> None:
        self._max = max_event
        self._errors = errors
        self._line: bytearray | None = None
        self._after_cr = False
        self._name = ""
        self._data: list[str] | None = None
        self._held = 0
        self._has_id = False
        self._has_retry = False

    @property
    def idle(self) -> bool:
        """Whether the next byte begins an event."""
        return not (self._line or self._data or self._name or self._after_cr or self._has_retry)

    @property
    def pristine(self) -> bool:
        """Whether it is as if nothing had been fed."""
        return self.idle and not self._has_id

    def feed(self, chunk: bytes) -> Iterable[Event]:
        """Name (or ``None``) and data of each event that ends in *chunk*; to be gone through before the next is fed.

        Raises:
            EventTooLarge: after the events before the one that is.
            UnicodeDecodeError: at any line that is not UTF-8, be it a comment, unless *errors* says otherwise.
        """
        event = self._usual(chunk) if self.idle and len(chunk) <= self._max else None
        return self._fed(chunk) if event is None else (event,)

    @staticmethod
    def _usual(chunk: bytes) -> Event | None:
        """The event that *chunk* is, written as nearly all are: perhaps a name, one line of data, a blank line."""
        named, _, line = chunk.partition(b"\n") if chunk.startswith(b"event: ") else (b"", b"", chunk)
        is_usual = line.startswith(b"data: ") and line.endswith(b"\n\n") and line.find(b"\n") == len(line) - 2
        if not is_usual or b"\r" in chunk:
            return None
        try:
            return named[7:].decode() or None, line[6:-2].decode()
        except UnicodeDecodeError:
            return None

    def _fed(self, chunk: bytes) -> Iterator[Event]:
        if not chunk:
            return
        lines = chunk[self._after_cr and chunk[0] == _LF :].splitlines()
        rest = b"" if chunk[-1] in _LINE_ENDS else lines.pop()
        self._after_cr = chunk[-1] == _CR
        yield from self._events(lines)
        if rest:
            self._check(rest)
            self._line = self._line or bytearray()
            self._line += rest

    def close(self) -> Iterator[Event]:
        """The bytes have ended. There is no further event: one without its blank line is dropped.

        Raises:
            UnicodeDecodeError: as :meth:`feed`, for a last line without an end.
        """
        if self._line:
            yield from self._events([b""])

    def _events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        for line in lines:
            self._check(line)
            event = self._read(bytes(self._line + line) if self._line else line)
            if event is not None:
                yield event

    def _check(self, more: bytes) -> None:
        if self._held + len(self._line or b"") + len(more) > self._max:
            raise EventTooLarge(f"An event of the stream is larger than {self._max} bytes.")

    def _read(self, line: bytes) -> Event | None:
        self._line = None
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", self._errors).partition(":")
        self._set(name, value.removeprefix(" "), len(line))
        return None

    def _set(self, field: str, value: str, size: int) -> None:
        match field:
            case "data":
                self._data = self._data or []
                self._data.append(value)
                self._held += size
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._has_id = value != ""
            case "retry" if not self._has_retry:
                with suppress(ValueError):
                    int(value)
                    self._has_retry = True
            case _:
                pass

    def _dispatch(self) -> Event | None:
        if not (self._data or self._name or self._has_id or self._has_retry):
            return None
        event = self._name or None, "\n".join(self._data or ())
        self._name, self._data, self._held, self._has_retry = "", None, 0, False
        return event


# --- templates ---------------------------------------------------------------

#: Bytes; a larger event is no template.
_MAX_TEMPLATE = 768
#: What differs between events that are alike: a count, padding that nobody reads, and text or arguments.
_HOLE = re.compile(
    rb'"sequence_number": ?(\d+)|"obfuscation": ?"([^"\\]*)|'
    rb'"(?:content|delta|reasoning_content|reasoning|arguments)": ?"([^"\\]+)'
)
_NUMBER, _PADDING, _TEXT = 1, 2, 3
_MAX_DIGITS = 18
_ZERO = ord("0")

# Not `json.loads` and `json.dumps`, which look for bytes and options first.
_decoder = json.JSONDecoder()
_loaded, _decoded, _dumped = _decoder.decode, _decoder.raw_decode, json.JSONEncoder().encode


class _Template(NamedTuple):
    """An event with holes.

    Attributes:
        head: What is before the first hole.
        holes: The kind of each one but the last, and what is between it and the next.
        last: The kind of the last one.
        tail: What is behind it.
        width: Bytes of *head* and *tail*.
        keep: Whether the text in the hole is the answer's; reasoning is not.
    """

    head: bytes
    holes: Holes
    last: int
    tail: bytes
    width: int
    keep: bool = False

    def around(self, text: bytes) -> bytes:
        """An event that fits, with *text* in it."""
        sample = {_NUMBER: b"7", _PADDING: b"z", _TEXT: text}
        between = [sample[kind] + after for kind, after in self.holes]
        return b"".join([self.head, *between, sample[self.last], self.tail])


def _template_of(event: bytes) -> _Template | None:
    """*event* with holes; ``None`` if it has not exactly one text, or begins with anything but data or a name."""
    found = [(hole.lastindex or 0, hole.span(hole.lastindex or 0)) for hole in _HOLE.finditer(event)]
    kinds = [kind for kind, _ in found]
    if kinds.count(_TEXT) != 1 or not event.startswith((b"data:", b"event:")):
        return None
    edges = [0, *(edge for _, span in found for edge in span), len(event)]
    head, *between, tail = (event[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True))
    holes = tuple(zip(kinds[:-1], between, strict=True))
    return _Template(head, holes, kinds[-1], tail, len(head) + len(tail))


def _text_in(filling: bytes, holes: Holes, last: int) -> bytes:
    """What fills the hole of the text, unchecked; empty if what fills another does not fit."""
    text = b""
    for kind, after in holes:
        piece, found, filling = filling.partition(after)
        if not found or not (kind == _TEXT or _FITS[kind](piece)):
            return b""
        text = piece if kind == _TEXT else text
    if last == _TEXT:
        return filling
    return text if _FITS[last](filling) else b""


def _is_number(piece: bytes) -> bool:
    return piece.isdigit() and piece[0] != _ZERO and len(piece) <= _MAX_DIGITS


def _is_padding(piece: bytes) -> bool:
    return piece.isalnum() or not piece


_FITS = {_NUMBER: _is_number, _PADDING: _is_padding}


#: What most text is: of ASCII, printable, without a quote or a backslash.
_is_usual_text: Final = re.compile(rb"[ !#-[\]-~]+").fullmatch


def _is_string(piece: bytes) -> bool:
    """Whether *piece* can stand between the quotes of a JSON string, as :mod:`json` reads it."""
    try:
        text = piece.decode()
        return (text.isprintable() and '"' not in text and "\\" not in text) or (
            _decoded(f'"{text}"')[1] == len(text) + 2
        )
    except ValueError:
        return False


# --- what events mean --------------------------------------------------------

_CHAT, _RESPONSES = _UNDERSTOOD = ("/chat/completions", "/responses")
#: What a chat delta may hold for the user.
_CONTENT_KEYS = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "audio",
)
_PLAIN_KEYS = frozenset({"role", "content"})
_TEXT_OR_NONE = (str, type(None))
_TEXT_DELTA = "response.output_text.delta"
#: The events that end an answer of the Responses API.
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
#: The events that an answer has which is one text, of the many in the API's ``ResponseStreamEvent``.
_PLAIN_KINDS = _TERMINAL.union(
    ("response.created", "response.queued", "response.in_progress"),
    ("response.output_item.added", "response.content_part.added", _TEXT_DELTA),
    ("response.output_text.done", "response.content_part.done", "response.output_item.done"),
)
_GOOD = frozenset({"stop", "tool_calls", "function_call", "response.completed"})


def _kind(name: str | None, event: Json) -> str:
    kind = event.get("type")
    return "error" if name == "error" else kind if isinstance(kind, str) else name or ""


def _error_of(kind: str, event: Json) -> object:
    """The error that *event* of the Responses API tells of; ``None`` if it tells of none."""
    if kind == "response.failed":
        return event.get("error") or as_object(event.get("response")).get("error") or {"type": kind}
    return event.get("error") or ((event or {"type": kind}) if kind == "error" else None)


def _is_plain(kind: str, event: Json) -> bool:
    """Whether *event* of the Responses API may belong to an answer that is one text, without log probabilities."""
    return (
        kind in _PLAIN_KINDS
        and as_object(event.get("item")).get("type", "message") == "message"
        and as_object(event.get("part")).get("type", "output_text") == "output_text"
        and not (event.get("output_index") or event.get("content_index") or event.get("logprobs"))
    )


_NONE_BEGAN: Final[Mapping[int, str | None]] = MappingProxyType({})
_ONE_BEGAN: Final[Mapping[int, str | None]] = MappingProxyType({0: None})


class Watch:
    """What is known of one stream so far. It is fed every chunk, content-decoded, in order.

    A new one takes less than 0.5 KB, one at work about 1 KB more; the text that came is on top of that.

    Args:
        path: What was called. Events of ``/chat/completions`` and ``/responses`` are understood; of any other path
            each event with data is content, unless it is an error.
        max_event: Bytes that one event may have.
        exact: Parse every event. The outcome is the same.

    Attributes:
        content: Events with something for the user: text, refusal, reasoning, tool calls, audio, a reason to finish;
            for ``/responses`` each ``*.delta``, and the ends of an answer but for failures. An error is none.
        events: Events with data; ``[DONE]`` is not counted.
        done: Whether ``[DONE]`` came. Nothing after it is looked at.
        error: The first error that came as an event, e.g. ``{"message": ..., "code": ..., "type": ...}``.
        garbage: Why the SDK cannot read on: ``invalid UTF-8``, ``invalid JSON``, ``nested too deeply`` or ``not an
            object``. Nothing after it is looked at. Always ``None`` for paths that are not understood.
        usage: The newest one that is not empty.
        model: The newest one named.
        finish: For each choice that began, its reason to finish, or ``None`` before that. For ``/responses`` only
            the type of the event that ended the answer, at 0.
        plain: Whether nothing but text of choice 0 was seen: no tool calls, refusal, reasoning, audio or log
            probabilities, and nothing unknown.
    """

    __slots__ = (
        "_decoder",
        "_exact",
        "_gap",
        "_max",
        "_over",
        "_path",
        "_ready",
        "_template",
        "_text",
        "_try_at",
        "content",
        "done",
        "error",
        "events",
        "finish",
        "garbage",
        "model",
        "plain",
        "usage",
    )

    def __init__(self, path: str, *, max_event: int, exact: bool = False) -> None:
        self._path = path
        self._max = max_event
        self._exact = exact
        self._decoder = Decoder(max_event, "strict" if path in _UNDERSTOOD else "replace")
        self._text = bytearray()
        self._over = False
        self._template: _Template | None = None
        self._ready: _Template | None = None
        self._try_at = 0
        self._gap = b"\n\n"
        self.content = 0
        self.events = 0
        self.done = False
        self.error: Json | None = None
        self.garbage: str | None = None
        self.usage: Json | None = None
        self.model: str | None = None
        self.finish = _NONE_BEGAN
        self.plain = True

    @property
    def progress(self) -> int:
        """Grows while the answer gets on. On Responses a search or a tool may run for minutes without content."""
        return self.events if self.counts_events else self.content

    @property
    def counts_events(self) -> bool:
        """Whether progress is any event."""
        return self._path == _RESPONSES

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end, be it a bad one.

        A chat has ended when each choice that began has finished, or with ``[DONE]``; a response with one of the
        events that end it. Of other paths nothing is known, and they are always complete.
        """
        if self._path not in _UNDERSTOOD or (self.done and self._path == _CHAT):
            return True
        return bool(self.finish) and None not in self.finish.values()

    @property
    def flagged(self) -> bool:
        """Whether it came to its end without being a good answer: cut short, filtered, failed, or for no reason."""
        ends = self.finish.values() or (None,)
        return self._path in _UNDERSTOOD and self.complete and not _GOOD.issuperset(ends)

    @property
    def flags(self) -> tuple[str, ...]:
        """Why it is flagged, in the words of :func:`~respan_openai._core.judge.flags_of`."""
        if not self.flagged:
            return ()
        ends = map(end_flag, self.finish.values() or (None,))
        return tuple(dict.fromkeys(flag for flag in ends if flag is not None))

    @property
    def text(self) -> str:
        """The text of choice 0, or all output text, that came so far; decoded anew at each access.

        Halves of a surrogate pair that came in two events are joined.
        """
        return str(json.loads(f'"{self._text.decode()}"'))

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes.

        Raises:
            EventTooLarge: if an event has grown beyond ``max_event``. Nothing after it is looked at.
        """
        if not self.skim(chunk):
            self.look_into(chunk)

    def look_into(self, chunk: bytes) -> None:
        """As :meth:`feed`, for a chunk that was skimmed in vain."""
        at, size = 0, len(chunk)
        while at < size and not self._over:
            cut = chunk.find(self._gap, at)
            end = size if cut < 0 else cut + len(self._gap)
            piece = chunk[at:end]
            if not self.skim(piece):
                self._study(piece)
            at = end

    def close(self) -> None:
        """The bytes have ended. What is pending is dropped, as the SDK does, unless it is not even UTF-8."""
        if not self._over:
            self._read(self._decoder.close())

    def skim(self, event: bytes) -> bool:
        """Count *event* if it fits the template, so that it need not be parsed. Returns whether it does.

        Several events in one chunk are refused at the first quote or newline, before anything costs more.
        """
        if self._ready is None:
            return False
        head, holes, last, tail, width, keep = self._ready
        text = event.removeprefix(head).removesuffix(tail)
        if len(event) - len(text) != width or len(event) > self._max:
            return False
        if holes:
            text = b"" if _LF in text else _text_in(text, holes, last)
        if not (_is_usual_text(text) or (text and _LF not in text and _is_string(text))):
            return False
        if keep:
            self._text += text
        self.content += 1
        self.events += 1
        return True

    def _study(self, piece: bytes) -> None:
        """Parse *piece*, which ends where an event does, or before that."""
        content, self._ready = self.content, None
        self._read(self._decoder.feed(piece))
        self._gap = b"\r\n\r\n" if piece.endswith(b"\r\n\r\n") else b"\n\n"
        # Not of the first content: somebody waits for it, and proving costs more than all else that is done with it.
        if content and self.content == content + 1:
            self._learn(piece)
        if self._template is not None and self._decoder.idle and not self._over:
            self._ready = self._template

    def _learn(self, event: bytes) -> None:
        """Make *event*, which was just parsed, the template if it can be one.

        Tries grow rarer with the number of events, for streams in which no two are alike.
        """
        if self._exact or self.events < self._try_at or len(event) > _MAX_TEMPLATE:
            return
        self._try_at = self.events + self.events // 4 + 1
        template = _template_of(event)
        if template is not None:
            self._prove(template, b"~" * len(event))

    def _prove(self, template: _Template, text: bytes) -> None:
        """Keep *template* if *text* in it is one content event that changes the text, or not even that.

        *text* is longer than any string in the template, so it cannot be mistaken for one.
        """
        event = template.around(text)
        probe, decoder = Watch(self._path, max_event=len(event), exact=True), Decoder(len(event), "replace")
        probe.feed(event)
        unchanged = (
            len(list(decoder.feed(event))) == 1
            and decoder.pristine
            and (probe.events, probe.content) == (1, 1)
            and (probe.done, probe.error, probe.garbage, probe.usage) == (False, None, None, None)
            and not any(probe.finish.values())
            and (probe.plain or not self.plain)
        )
        if unchanged and probe.text in {"", text.decode()}:
            self._template = template._replace(keep=probe.text != "")

    def _read(self, events: Iterable[Event]) -> None:
        try:
            for name, data in events:
                self._take(name, data)
                if self._over:
                    break
        except UnicodeDecodeError:
            self._spoil("invalid UTF-8")
        except EventTooLarge:
            self._over = True
            raise

    def _take(self, name: str | None, data: str) -> None:
        if data.startswith("[DONE]"):
            self.done = self._over = True
            return
        self.events += data != ""
        if self._path in _UNDERSTOOD:
            self._parse(name, data)
        elif data:
            self._glance(data)

    def _glance(self, data: str) -> None:
        thing: object = None
        if '"error"' in data or "\\" in data:  # the word may be spelt with escapes
            with suppress(ValueError, RecursionError):
                thing = json.loads(data)
        self.content += not self._fail(as_object(thing).get("error"))

    def _parse(self, name: str | None, data: str) -> None:
        try:
            thing = _loaded(data)
        except RecursionError:
            self._spoil("nested too deeply")
        except ValueError:
            self._spoil("invalid JSON")
        else:
            if isinstance(thing, dict):
                event = cast("Json", thing)
                self.content += self._chat(event) if self._path == _CHAT else self._responses(name, event)
            else:
                self._spoil("not an object")

    def _spoil(self, reason: str) -> None:
        self.garbage, self._over = reason, True

    def _fail(self, error: object) -> bool:
        if error and self.error is None:
            self.error = as_object(error) or {"message": error}
        return bool(error)

    def _chat(self, chunk: Json) -> bool:
        """Whether *chunk* is content."""
        error = chunk.get("error")
        if error and self._fail(error):
            return False
        self._note(chunk)
        content = False
        choices: Any = chunk.get("choices")
        if isinstance(choices, LIST):
            for choice in choices:
                # Not by as_object: the first of these is waited for, and each call counts.
                content |= self._choice(choice if isinstance(choice, DICT) else {})
        return content

    def _choice(self, choice: Json) -> bool:
        found: Any = choice.get("delta")
        delta: Json = found if isinstance(found, DICT) else {}
        index, reason = choice.get("index", 0), choice.get("finish_reason")
        place = index if isinstance(index, int) else 0
        ended = isinstance(reason, str) and reason != ""
        if ended or place not in self.finish:
            self._note_end(place, reason if ended else None)
        text = delta.get("content")
        if text and index == 0 and isinstance(text, str):
            self._keep(text)
        others = delta.keys() - _PLAIN_KEYS
        if (
            (others and any(map(delta.get, others)))
            or choice.get("logprobs")
            or index != 0
            or not isinstance(text, _TEXT_OR_NONE)
        ):
            self.plain = False
        return ended or any(map(delta.get, _CONTENT_KEYS))

    def _note_end(self, index: int, reason: str | None) -> None:
        if reason is None and index == 0 and not self.finish:
            self.finish = _ONE_BEGAN  # nearly all streams are so for most of their time: they share it
        else:
            self.finish = {**self.finish, index: reason}

    def _responses(self, name: str | None, event: Json) -> bool:
        """Whether *event* is content."""
        kind, text = _kind(name, event), event.get("delta")
        self._note(as_object(event.get("response")))
        if kind in _TERMINAL:
            self._note_end(0, kind)
        if self._fail(_error_of(kind, event)):
            return False
        if kind == _TEXT_DELTA and isinstance(text, str):
            self._keep(text)
        self.plain = self.plain and _is_plain(kind, event)
        return kind.endswith(".delta") or kind in _TERMINAL

    def _note(self, thing: Json) -> None:
        if thing.get("id") == "request_breakdown":  # Respan's summary, whose model is none
            return
        usage, model = thing.get("usage"), thing.get("model")
        if usage and isinstance(usage, DICT):
            self.usage = usage
        if isinstance(model, str) and model and model != self.model:
            self.model, self._template = model, None

    def _keep(self, text: str) -> None:
        self._text += _dumped(text)[1:-1].encode()
