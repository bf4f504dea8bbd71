"""Find what must not be written down in bytes, in whatever form, and replace it where it stands.

1. What is read as JSON or as a stream goes first: a secret may be cut into deltas, and only the whole text
   tells what belongs to it. Then what escapes hide, then what stands there plainly, then base64. What one of
   them has found is not looked at by the next, which might see a part of it as something else.
2. Nothing but what was found is changed.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from ._base64 import depth_of, runs
from ._credentials import SHAPES, is_credential, is_field_of_secrets
from ._escapes import DEEPEST, LAYERS, plain_text
from ._leaves import leaves_of
from ._splices import Edit, applied, blanked, mapped
from .secrets import MASKED, is_placeholder


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ._base64 import Run
    from ._escapes import Layer
    from ._hooks import Hooks
    from ._leaves import Leaf, Leaves
    from .secrets import Secrets

    #: Given a text and how deep to look into it; what is to be edited there, in any order.
    Finder = Callable[[bytes, int], list[Edit]]


__all__ = ["SHORTEST_IN_BASE64", "Sweep"]


#: Bytes of the shortest text that gives a secret away: a short key that begins with ``sk-``.
SHORTEST_IN_BASE64: Final = 15

#: What is found in one round may give away what is found in the next; three were never needed.
_MOST_ROUNDS: Final = 8

#: Bytes of a known value that the end of a text must have to be taken for it, cut off; and half of it.
_SHORTEST_BEGINNING: Final = 12


#: One of these is in all that gives itself away, that escapes hide, and that is JSON or a stream.
_SIGNS: Final = (
    *(layer.hint for layer in LAYERS),
    *(b"{", b"[", b"data:"),
    *(hint for shape in SHAPES for hint in shape.hints),
)


class Sweep:
    """Cleans texts of what *secrets* knows, and of what gives itself away, which *secrets* then knows too.

    Args:
        secrets: Values and their placeholders.
        hooks: What a user wants to be kept out.
        answered: Whether the texts are of an answer: it may be cut off, and the next request may hold what is
            in it.
    """

    def __init__(self, secrets: Secrets, hooks: Hooks, *, answered: bool) -> None:
        self._secrets = secrets
        self._hooks = hooks
        self._answered = answered
        self._finders: tuple[Finder, ...] = (
            *(partial(self._hidden, layer) for layer in LAYERS),
            self._plain,
            self._in_base64,
        )

    @property
    def known(self) -> int:
        """How many values are looked for."""
        return len(self._secrets)

    def cleaned(self, *parts: bytes) -> tuple[bytes, ...]:
        """*parts* of one text, clean: *parts* itself if nothing was found.

        What crosses a border is replaced in the first part, and may leave nothing of another.
        """
        for _ in range(_MOST_ROUNDS):
            edits = self.edits(b"".join(parts))
            if not edits:
                break
            parts = tuple(_edited(parts, edits))
        return parts

    def text(self, text: str) -> str:
        """*text*, clean; the same object if it is clean already."""
        data = text.encode("utf-8", "surrogatepass")
        (new,) = self.cleaned(data)
        return text if new is data else new.decode("utf-8", "surrogatepass")

    def is_off_limits(self, path: Sequence[object]) -> bool:
        """Whether the string or number that *path* leads to is a secret because of its place."""
        return is_field_of_secrets(path) or self._hooks.lead_to(path)

    def edits(self, data: bytes, depth: int = DEEPEST) -> list[Edit]:
        """What makes *data* clean, sorted; forms inside of forms are undone *depth* deep."""
        if not self._has_signs(data):
            return self._in_base64(data, depth)
        leaves = leaves_of(data)
        found = [] if leaves is None else self._in_leaves(data, leaves, depth)
        rest = blanked(data if leaves is None else leaves.without_code(data), found)
        for find in self._finders:
            more = find(rest, depth)
            if more:
                found += more
                rest = blanked(rest, more)
        return sorted(found)

    def _has_signs(self, data: bytes) -> bool:
        """Whether there may be more to find than base64. Mostly there is not, and this is quickly seen."""
        if self._answered or self._hooks.search_texts or any(map(data.__contains__, _SIGNS)):
            return True
        return self._holds_needle(data)

    def may_hold(self, text: str) -> bool:
        """Whether something that is known, or that a user wants to be kept out, may stand plainly in *text*."""
        return self._hooks.search_texts or self._holds_needle(text.encode("utf-8", "surrogatepass"))

    def _holds_needle(self, data: bytes) -> bool:
        return any(needle in data for needle, _ in self._secrets.needles)

    # -- each way to find

    def _in_leaves(self, data: bytes, leaves: Leaves, depth: int) -> list[Edit]:
        found = [edit for leaf in leaves.values for edit in self._in_field(data, leaf)]
        for texts in (leaves.documents, leaves.joined) if depth else ():
            for text, pieces in texts(blanked(data, found)):
                found += mapped(self.edits(text, depth - 1), pieces)
        for text, pieces in leaves.spelt() if depth else ():
            edits = self.edits(text, depth - 1)
            found += mapped((edit._replace(new=b"") for edit in edits), pieces)
        return found

    def _in_field(self, data: bytes, leaf: Leaf) -> Iterator[Edit]:
        value = plain_text(data[leaf.start : leaf.end])
        if value and self.is_off_limits(("$", *leaf.path)):
            new = self.stand_in(value)
            if new != value:
                yield Edit(leaf.start, leaf.end, new)

    def stand_in(self, value: bytes) -> bytes:
        """What stands for *value*, which is a secret because of its place.

        A credential in an answer has a placeholder of its own: the next request may be about it, and is then
        equal to the one that a replayed answer leads to.
        """
        if self._answered and is_placeholder(value):
            return value
        if not is_credential(value.decode("utf-8", "replace")):
            return MASKED.encode()
        self._secrets.found([(value, "a credential, by the field that held it")])
        return self._secrets.placeholder(value, answered=True) if self._answered else MASKED.encode()

    def _hidden(self, layer: Layer, data: bytes, depth: int) -> list[Edit]:
        text = layer.undone(data) if depth else None
        inner = [] if text is None else self.edits(text, depth - 1)
        inner = [edit._replace(new=layer.written(edit.new)) for edit in inner]
        return [*mapped(inner, list(layer.pieces(data)))] if inner else []

    def _plain(self, data: bytes, _: int) -> list[Edit]:
        found = self._known(data)
        return self._known(data) if self._secrets.found(self._given_away(blanked(data, found))) else found

    def _in_base64(self, data: bytes, depth: int) -> list[Edit]:
        found: list[Edit] = []
        clean = set[bytes]()  # every event of a stream repeats its id
        for run in runs(data, min(self._secrets.shortest, SHORTEST_IN_BASE64)) if depth else ():
            edit = None if run.text in clean else self._in_run(run, depth)
            if edit is None:
                clean.add(run.text)
            else:
                found.append(edit)
        return found

    def _in_run(self, run: Run, depth: int) -> Edit | None:
        for offset, text in run.undone():
            edits = self.edits(text, depth_of(text, depth - 1))
            if edits:
                return run.edited(offset, text, edits)
        return None

    # -- what stands there plainly

    def _given_away(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        yield from ((value, shape.what) for shape in SHAPES for value in shape.found_in(data))
        yield from ((value, "what redact=[...] names") for value in self._hooks.found_in(data))

    def _known(self, data: bytes) -> list[Edit]:
        own = [Edit(start, end, b"") for start, end in self._secrets.placeholders(data)]
        rest = blanked(data, own)
        found: list[tuple[int, int, bytes]] = []
        for needle, value in self._secrets.needles:
            spans = _spans(needle, rest) if needle in rest else []
            if self._answered:
                spans += _cut_off(needle, rest, spans)
            if spans:
                found += ((start, end, value) for start, end in spans)
                rest = blanked(rest, (Edit(start, end, b"") for start, end in spans))
        # In the order of the text, not of the values' lengths: placeholders are counted.
        return [
            Edit(start, end, self._secrets.placeholder(value, answered=self._answered))
            for start, end, value in sorted(found)
        ]


def _spans(needle: bytes, text: bytes) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = text.find(needle)
    while at >= 0:
        found.append((at, at + len(needle)))
        at = text.find(needle, at + len(needle))
    return found


def _cut_off(needle: bytes, text: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The end of *text*, if it is so much of *needle*, which is at *spans*, that it is no chance."""
    least = max(_SHORTEST_BEGINNING, -(-len(needle) // 2))
    done = spans[-1][1] if spans else 0
    at = text.find(needle[:least], max(len(text) - len(needle) + 1, done))
    return [(at, len(text))] if at >= 0 and needle.startswith(text[at:]) else []


def _edited(parts: Sequence[bytes], edits: Iterable[Edit]) -> Iterator[bytes]:
    """*parts* after *edits* of all of them in one."""
    begin, waiting = 0, deque(edits)
    for part in parts:
        end = begin + len(part)
        yield applied(part, [*_moved(begin, end, waiting)])
        begin = end


def _moved(begin: int, end: int, waiting: deque[Edit]) -> Iterator[Edit]:
    """What of *waiting* is to be done to the part from *begin* to *end*; the rest is left waiting."""
    while waiting and waiting[0].start < end:
        edit = waiting.popleft()
        yield Edit(edit.start - begin, min(edit.end, end) - begin, edit.new)
        if edit.end > end:
            waiting.appendleft(Edit(end, edit.end, b""))
