"""Recordings, each found by its question, and what it means if none is."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Literal, NamedTuple

from .rules import Rules


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .recording import Question, Recorded


__all__ = ["Held", "Library", "Miss", "Reason", "Rules", "Taken"]


Reason = Literal["empty", "path", "differs", "used up", "order"]


class Held(NamedTuple):
    """A recording in its place.

    Attributes:
        recorded: The recording.
        number: In its sequence, counted from 1.
        source: 0: the cassette's own; 1 and on: a further one.
        is_used: Whether it was taken.
    """

    recorded: Recorded
    number: int
    source: int
    is_used: bool


class Taken(NamedTuple):
    """What answers a question; of the fields that :class:`Held` has too, the same is true."""

    recorded: Recorded
    number: int
    source: int


class Miss(NamedTuple):
    """Why nothing answers a question.

    Attributes:
        reason: ``empty``: nothing is recorded at all; ``path``: nothing with this method and path;
            ``differs``: nothing that is the same; ``used up``: the same was recorded, and taken as often;
            ``order``: it is recorded for later.
        library: Where it was looked for.
        recorded: How often the same question was recorded.
        asked: How often it was asked by now.
        expected: For ``order``: whose turn it is.
    """

    reason: Reason
    library: Library
    recorded: int = 0
    asked: int = 1
    expected: Held | None = None


class Library:
    """Recordings, each of which answers its question once; the first recorded is the first taken.

    A question is looked up by its key, at the same cost however many recordings there are. Every method may
    be called from several threads, and no recording is taken twice.

    Args:
        recorded: The cassette's own.
        rules: What makes two questions the same.
        ordered: Whether questions must be asked in the order in which they were recorded; each sequence has
            its own.
        repeats: What becomes of a question that was recorded n times and is asked once more: ``error`` is a
            miss, ``last`` gives the last recording again.
        extra: Further sequences, looked into in order where the own one has nothing left.
    """

    def __init__(
        self,
        recorded: Sequence[Recorded],
        rules: Rules | None = None,
        *,
        ordered: bool = False,
        repeats: str = "error",
        extra: Sequence[Sequence[Recorded]] = (),
    ) -> None:
        self.rules = Rules() if rules is None else rules
        self._ordered = ordered
        self._repeats = repeats
        self._shelves = [_Shelf(each, self.rules) for each in (recorded, *extra)]
        self._asked: Counter[str] = Counter()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._shelves[0].recorded)

    def __repr__(self) -> str:
        return f"<Library of {len(self)}, {len(self.used)} used>"

    def take(self, question: Question) -> Taken | Miss:
        """The recording that answers *question*, which from now on is used."""
        key = self.rules.key(question)
        with self._lock:
            self._asked[key] += 1
            found = self._next(key)
            if found is None:
                return self._miss(question, key)
            self._shelves[found.source].use(key, found.number - 1)
            return found

    def peek(self, question: Question) -> Recorded | None:
        """What :meth:`take` would take, which stays unused; ``None`` for a miss."""
        key = self.rules.key(question)
        with self._lock:
            found = self._next(key)
            return None if found is None else found.recorded

    def _next(self, key: str) -> Taken | None:
        for source, shelf in enumerate(self._shelves):
            if waiting := shelf.waiting.get(key):
                is_its_turn = not self._ordered or waiting[0] == shelf.turn
                return self._taken(source, waiting[0]) if is_its_turn else None
        return self._last(key) if self._repeats == "last" else None

    def _last(self, key: str) -> Taken | None:
        for source, shelf in reversed(list(enumerate(self._shelves))):
            if key in shelf.last:
                return self._taken(source, shelf.last[key])
        return None

    def _taken(self, source: int, index: int) -> Taken:
        return Taken(self._shelves[source].recorded[index], index + 1, source)

    # -- what did not fit

    def _miss(self, question: Question, key: str) -> Miss:
        recorded = sum(shelf.counts[key] for shelf in self._shelves)
        late = next((at for at, shelf in enumerate(self._shelves) if shelf.waiting.get(key)), None)
        if late is not None:
            expected = self._held(late, self._shelves[late].turn)
            return Miss("order", self, recorded, self._asked[key], expected)
        reason: Reason = "used up" if recorded else self._unknown(question)
        return Miss(reason, self, recorded, self._asked[key])

    def _unknown(self, question: Question) -> Reason:
        if not any(shelf.recorded for shelf in self._shelves):
            return "empty"
        place = self.rules.place(question)
        recorded = (each for shelf in self._shelves for each in shelf.recorded)
        return "differs" if any(place == self.rules.place(each.question) for each in recorded) else "path"

    # -- what is in it

    def holds(self) -> list[Held]:
        """All recordings: the own ones in their order, then each further sequence."""
        with self._lock:
            sizes = [len(shelf.recorded) for shelf in self._shelves]
            return [self._held(source, at) for source, size in enumerate(sizes) for at in range(size)]

    def _held(self, source: int, index: int) -> Held:
        shelf = self._shelves[source]
        return Held(shelf.recorded[index], index + 1, source, shelf.used[index])

    @property
    def used(self) -> tuple[Recorded, ...]:
        """The own recordings that were taken."""
        return self._own(used=True)

    @property
    def unused(self) -> tuple[Recorded, ...]:
        """The own recordings that were not taken."""
        return self._own(used=False)

    def _own(self, *, used: bool) -> tuple[Recorded, ...]:
        return tuple(held.recorded for held in self.holds() if not held.source and held.is_used is used)

    def rewind(self) -> None:
        """Let every recording be taken once more."""
        with self._lock:
            self._asked.clear()
            for shelf in self._shelves:
                shelf.rewind()

    def under(self, rules: Rules) -> Library:
        """The same recordings under other *rules*; what was taken stays so."""
        with self._lock:
            own, *extra = self._shelves
            made = Library(
                own.recorded,
                rules,
                ordered=self._ordered,
                repeats=self._repeats,
                extra=[shelf.recorded for shelf in extra],
            )
            for new, old in zip(made._shelves, self._shelves, strict=True):
                new.rewind(old.used)
            return made


class _Shelf:
    """One sequence, with an index from keys to places in it."""

    def __init__(self, recorded: Sequence[Recorded], rules: Rules) -> None:
        self.recorded = recorded
        self._keys = [rules.key(each.question) for each in recorded]
        self.counts = Counter(self._keys)
        self.last = {key: at for at, key in enumerate(self._keys)}
        self.rewind()

    def rewind(self, used: Sequence[bool] = ()) -> None:
        self.used = [*used] or [False] * len(self.recorded)
        self.waiting: dict[str, deque[int]] = {}
        for at, key in enumerate(self._keys):
            if not self.used[at]:
                self.waiting.setdefault(key, deque()).append(at)
        self._skip_used(0)

    def _skip_used(self, turn: int) -> None:
        while turn < len(self.used) and self.used[turn]:
            turn += 1
        #: The first one that is not used.
        self.turn = turn

    def use(self, key: str, index: int) -> None:
        if not self.used[index]:
            self.used[index] = True
            self.waiting[key].popleft()
            self._skip_used(self.turn)
