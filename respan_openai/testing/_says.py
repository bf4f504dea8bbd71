"""What an answer says, put together from the events of its stream: for people who read a cassette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._core.plain import DICT, as_list


if TYPE_CHECKING:
    from collections.abc import Iterable

    Object = dict[str, Any]
    #: Which of the answer's texts, and a piece of it.
    Piece = tuple[tuple[int, ...], str]


__all__ = ["says"]


def says(events: Iterable[Any]) -> str | list[str]:
    """The text in *events*, which are the values of a stream's data lines.

    Of the chat, completions and responses APIs; reasoning, refusals and the arguments of tools are not in it.

    Returns:
        A string, empty if there is no text; a list of them, in order of their indices, for an answer with
        several choices or parts.
    """
    texts: dict[tuple[int, ...], list[str]] = {}
    for event in events:
        for which, piece in _pieces(event):
            texts.setdefault(which, []).append(piece)
    whole = ["".join(texts[which]) for which in sorted(texts)]
    return whole if len(whole) > 1 else "".join(whole)


def _pieces(event: Any) -> list[Piece]:
    if not isinstance(event, DICT):
        return []
    found: list[Piece] = []
    for choice in as_list(event.get("choices")):
        if isinstance(choice, DICT):
            delta = choice.get("delta")
            piece = delta.get("content") if isinstance(delta, DICT) else choice.get("text")
            if type(piece) is str and piece:
                found.append(((_index(choice, "index"),), piece))
    return found if event.get("type") != _DELTA else [*_of_response(event), *found]


_DELTA: Final = "response.output_text.delta"
_INDICES: Final = ("output_index", "content_index")


def _of_response(event: Object) -> list[Piece]:
    piece = event.get("delta")
    return [(tuple([_index(event, name) for name in _INDICES]), piece)] if type(piece) is str else []


def _index(found: Object, name: str) -> int:
    index = found.get(name)
    return index if type(index) is int else 0
