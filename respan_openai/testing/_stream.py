"""What the events of a stream have in common: their frame, style and fields, which a file says once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_list, is_object
from ._framing import NEWLINES, Frame, frame_of
from ._shapes import REPAIR, Misshapen, a_string, a_truth, an_object, list_of
from ._styles import COMPACT, STYLES, Style, a_style, narrowed, written


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._framing import Piece
    from ._shapes import Check, Place

    Object = dict[str, Any]


__all__ = ["COMMON", "NAMED", "RAW", "WHOLE", "Stream", "common_in", "common_of", "stream_of"]


#: Words before the data of an event that is an exception; the last one is followed by the event's name.
RAW: Final = "raw"
WHOLE: Final = "whole"
NAMED: Final = "event: "


class Stream(NamedTuple):
    """What all events of a stream have, unless they are exceptions.

    Attributes:
        frame: Around their data.
        style: Of their JSON.
        shared: Fields of every object.
        order: Of all keys, where the shared ones are not in front.
    """

    frame: Frame = Frame()
    style: Style = COMPACT
    shared: Mapping[str, Any] = {}
    order: Sequence[str] = ()

    def value(self, label: str | None, data: Any) -> Any:
        """What the *data* of a file's row stands for, the shared fields included."""
        if label is not None or not is_object(data):
            return data
        merged = {**self.shared, **data}
        return {key: merged[key] for key in self.order if key in merged} | merged if self.order else merged

    def text(self, label: str | None, value: Any) -> str:
        """The event as it is in the stream; *value* as :meth:`value` returns it."""
        if label == RAW:
            return str(value)
        is_named = label is not None and label.startswith(NAMED)
        name = label.removeprefix(NAMED) if label and is_named else self.frame.name_of(value)
        return self.frame.text(name, value if type(value) is str else written(value, self.style))


def stream_of(pieces: Sequence[Piece]) -> Stream | None:
    """What *pieces* have in common; ``None`` if there is no event among them."""
    frame = frame_of(pieces)
    if frame is None:
        return None
    samples = [(piece.value, piece.data) for piece in pieces if is_object(piece.value)]
    styles = narrowed(list(STYLES.values()), samples) or [COMPACT]
    return Stream(frame, styles[0], *_shared([value for value, _ in samples]))


#: In so many objects one may be without the shared fields: the first one of Azure's is, and the last one may
#: have a usage where the others have null.
_MANY: Final = 4


def _shared(objects: Sequence[Object]) -> tuple[Object, Sequence[str]]:
    if len(objects) < 2:
        return {}, ()
    least = len(objects) - (len(objects) >= _MANY)
    model = objects[len(objects) // 2]
    # Not what is nested: those are the fields that the answer is in.
    plain = {key: value for key, value in model.items() if not is_object(value) and not is_list(value)}
    shared = {key: value for key, value in plain.items() if _count(objects, key, value) >= least}
    is_in_front = list({**shared, **model}) == list(model)
    return shared, () if is_in_front else list(model)


def _count(objects: Sequence[Object], key: str, value: Any) -> int:
    # By their text, since 1 == True == 1.0.
    return sum(key in other and repr(other[key]) == repr(value) for other in objects)


# -- in a file


def common_of(stream: Stream) -> Object:
    """What a file says about *stream*: only what is not as OpenAI has it."""
    usual = Frame()
    frame = {name: value for name, value in stream.frame._asdict().items() if value != getattr(usual, name)}
    style = {} if stream.style == COMPACT else {"style": stream.style.name}
    shared = {"shared": dict(stream.shared)} if stream.shared else {}
    order = {"order": list(stream.order)} if stream.order else {}
    return {**frame, **style, **shared, **order}


def _a_newline(value: Any, place: Place) -> str:
    if value not in NEWLINES:
        raise Misshapen(place, rf'must be "\n", "\r\n" or "\r". {REPAIR}')
    return str(value)


#: The checks of the keys that :func:`common_of` writes.
COMMON: Final[Mapping[str, Check]] = {
    "newline": _a_newline,
    "blank": a_truth,
    "named": a_truth,
    "style": a_style,
    "shared": an_object,
    "order": list_of(a_string),
}


def common_in(fields: Mapping[str, Any]) -> Stream:
    """The stream that *fields* of a file, as :data:`COMMON` returns them, tell about."""
    frame = {name: fields[name] for name in Frame._fields if name in fields}
    rest = {name: fields[name] for name in ("style", "shared", "order") if name in fields}
    return Stream(Frame(**frame), **rest)
