"""A recorded call for people: who said what, and what came back.

Whatever it holds, there is nothing in the lines that a terminal would obey; long base64 is told by its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ._answers import content_of
from ._shown import clipped, label, printable, shown
from .recording import Json, Multipart, Raw
from .views import view


if TYPE_CHECKING:
    from collections.abc import Iterator

    from .recording import Answer, Question, Recorded
    from .views import CallView


__all__ = ["conversation", "spoken", "title"]


#: Columns of the words on the left: who speaks.
_MARGIN: Final = 12


def conversation(number: int, recorded: Recorded) -> Iterator[str]:
    """The lines for the call *number* of a tape."""
    call = view(recorded.question, recorded.answer)
    yield f"{number}. {title(recorded)}"
    for name, value in call.respan.items():
        yield from spoken("respan", f"{name}={shown(value)}")
    for message in call.messages:
        yield from _message(message)
    yield from _unspoken(recorded, call)
    yield from _answered(recorded.answer, call)


def title(recorded: Recorded) -> str:
    """The request in one line, without what it says."""
    question = recorded.question
    query = "?" + "&".join(map("=".join, question.query)) if question.query else ""
    words = [
        f"{question.method} {question.path}{query}",
        _model(question),
        f"via {question.via}" if question.via else "",
        f"(from {recorded.origin})" if recorded.origin else "",
    ]
    return printable("  ".join(filter(None, words)))


def _model(question: Question) -> str:
    fields = question.body.value if isinstance(question.body, Json) else None
    model = cast("dict[str, Any]", fields).get("model") if isinstance(fields, dict) else None
    return model if isinstance(model, str) else ""


def spoken(who: str, text: str) -> Iterator[str]:
    """*text*, line by line, beside who says it."""
    for line in text.splitlines() or [""]:
        yield f"   {printable(who):<{_MARGIN}}{printable(line)}".rstrip()
        who = ""


def _message(message: object) -> Iterator[str]:
    from ..local.messages import objects

    fields = cast("dict[str, Any]", message) if isinstance(message, dict) else {"content": message}
    who = str(fields.get("role") or fields.get("type") or "")
    content = fields.get("content")
    parts = cast("list[object]", content) if isinstance(content, list) else [content]
    said = [_text(part) for part in parts if content is not None]
    called = [_called(call) for call in objects(fields.get("tool_calls"))]
    for text in said or ([] if called else [shown(fields)]):
        yield from spoken(who, text)
    for text in called:
        yield from spoken("calls", text)


def _text(part: object) -> str:
    spoken = cast("dict[str, Any]", part).get("text") if isinstance(part, dict) else part
    return (label(spoken) or spoken) if isinstance(spoken, str) else shown(part)


def _called(call: dict[str, Any]) -> str:
    function = call.get("function")
    known = cast("dict[str, Any]", function) if isinstance(function, dict) else None
    return shown(call) if known is None else f"{known.get('name')}({known.get('arguments')})"


def _unspoken(recorded: Recorded, call: CallView) -> Iterator[str]:
    """What a request holds that is no message."""
    body = recorded.question.body
    if isinstance(body, Multipart):
        for part in body.parts:
            yield from spoken(
                part.name, part.text if part.text is not None else f"<{part.filename}, {part.size} B>"
            )
    elif isinstance(body, Raw):
        kind = f"{body.type}, " if body.type else ""
        yield from spoken("body", body.text if body.text is not None else f"<{kind}{body.size} B>")
    elif call.json is not None and not call.messages:
        yield from spoken("body", shown(call.json))


def _answered(answer: Answer, call: CallView) -> Iterator[str]:
    yield from spoken("->", _outcome(answer, call))
    if call.text is not None:
        yield from spoken("assistant", call.text)
    for each in call.tool_calls:
        yield from spoken("calls", _called(each))
    if answer.chunks and call.text is None and not call.tool_calls:
        yield from spoken("", _content(answer))


def _outcome(answer: Answer, call: CallView) -> str:
    last = answer.chunks[-1].at if answer.chunks else 0
    broke = "" if answer.failure is None else f"{answer.failure.type} after {answer.failure.at} ms"
    words = [
        "" if answer.status is None else str(answer.status),
        f"{len(answer.chunks)} chunks" if len(answer.chunks) > 1 else "",
        f"{last} ms" if last else "",
        f"usage {shown(call.usage)}" if call.usage else "",
        "the reader left" if answer.end == "closed" else "",
        broke,
    ]
    return "  ".join(filter(None, words))


def _content(answer: Answer) -> str:
    content = content_of(answer)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"<{len(content)} B>"
    return clipped(printable(text))
