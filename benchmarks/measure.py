"""Interleaved measurements: a machine that slows down slows all variants, so only ratios are compared.

1. A *lap* is a handful of calls of one variant, a few milliseconds. Variants take laps in turn, in an order
   that is shuffled each time.
2. A *round* is several such turns. Of each variant only its median lap counts, so that laps in which something
   else had the processor drop out; ratios are taken within a round.
3. ``control`` is a second plain client. Its ratio to the first says how far from 1 a ratio may lie by chance.
4. Garbage is collected between rounds, never within one.
"""

from __future__ import annotations

import gc
import os
import random
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    Block = Callable[[int], object]
    Inside = AbstractContextManager[object]


PLAIN, CONTROL = "plain", "control"

LAP_SECONDS = 0.005
ROUND_SECONDS = 0.2
MAX_TURNS = 15
MIN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Lap:
    """What one call took, in seconds: of this process's CPU, and on the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum over rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of *values*, of which there is at least one."""
        values = [*values]
        return cls(median(values), min(values), max(values))

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(self.median * factor, self.min * factor, self.max * factor)


class Laps:
    """The laps of all variants of one case.

    Args:
        turns: Round by round, the turns of each.
    """

    def __init__(self, turns: list[list[dict[str, Lap]]]) -> None:
        self._rounds = [
            {variant: _typical(turn[variant] for turn in each) for variant in each[0]} for each in turns
        ]
        self._turns = [turn for each in turns for turn in each]

    def __len__(self) -> int:
        return len(self._rounds)

    def cpu(self, variant: str) -> Spread:
        """Seconds of CPU per call."""
        return Spread.of(laps[variant].cpu for laps in self._rounds)

    def wall(self, variant: str) -> Spread:
        """Seconds on the clock per call."""
        return Spread.of(laps[variant].wall for laps in self._rounds)

    def cpu_ratio(self, variant: str, over: str = PLAIN) -> Spread:
        """CPU of *variant* over that of another, within each round."""
        return Spread.of(laps[variant].cpu / laps[over].cpu for laps in self._rounds)

    def wall_ratio(self, variant: str) -> Spread:
        """Wall time of *variant* over plain, within each round."""
        return Spread.of(laps[variant].wall / laps[PLAIN].wall for laps in self._rounds)

    def cpu_added(self, variant: str) -> Spread:
        """Seconds of CPU per call that *variant* takes more than plain, within each round."""
        return Spread.of(laps[variant].cpu - laps[PLAIN].cpu for laps in self._rounds)

    def wall_added(self, variant: str) -> Spread:
        """Same as :meth:`cpu_added`, on the clock."""
        return Spread.of(laps[variant].wall - laps[PLAIN].wall for laps in self._rounds)

    def floor_ratio(self, variant: str) -> float:
        """CPU of the fastest tenth of all laps of *variant* over that of plain: disturbances only ever add."""
        return self._floor(variant) / self._floor(PLAIN)

    def _floor(self, variant: str) -> float:
        ordered = sorted(turn[variant].cpu for turn in self._turns)
        return ordered[len(ordered) // 10]


def with_byte_code() -> dict[str, str]:
    """The environment for a process that imports: an installed package is compiled once, by pip or the first import."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def interleaved(
    blocks: Mapping[str, Block], seconds: float, inside: Mapping[str, Callable[[], Inside]] | None = None
) -> Laps:
    """Measure *blocks*, one of them named ``plain``, for about *seconds*; a block makes as many calls as it is told.

    What *inside* has for a variant is opened for each of its laps; that is not measured.
    """
    opened = {**dict.fromkeys(blocks, nullcontext), **(inside or {})}
    calls = _calls_per_lap(blocks, opened)

    def lap(variant: str) -> Lap:
        with opened[variant]():
            wall, cpu = perf_counter(), process_time()
            blocks[variant](calls)
            return Lap((process_time() - cpu) / calls, (perf_counter() - wall) / calls)

    return rounds(lap, blocks, seconds)


def rounds(lap: Callable[[str], Lap], variants: Iterable[str], seconds: float) -> Laps:
    """Take a *lap* of each of *variants* again and again; no round begins after *seconds*."""
    order, taken = [*variants], list[list[dict[str, Lap]]]()
    began = perf_counter()
    _turn(lap, order)
    turns = min(MAX_TURNS, max(1, round(ROUND_SECONDS / (perf_counter() - began))))
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while len(taken) < MIN_ROUNDS or perf_counter() - began < seconds:
            taken.append([_turn(lap, order) for _ in range(turns)])
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return Laps(taken)


def _turn(lap: Callable[[str], Lap], order: list[str]) -> dict[str, Lap]:
    random.shuffle(order)
    return {variant: lap(variant) for variant in order}


def _typical(laps: Iterable[Lap]) -> Lap:
    laps = [*laps]
    return Lap(median(lap.cpu for lap in laps), median(lap.wall for lap in laps))


def _calls_per_lap(blocks: Mapping[str, Block], opened: Mapping[str, Callable[[], Inside]]) -> int:
    """How many calls fill a lap; finding out also warms all variants up."""
    for _ in range(3):
        for variant, block in blocks.items():
            with opened[variant]():
                block(1)
    began = process_time()
    blocks[PLAIN](3)
    return max(1, round(LAP_SECONDS * 3 / (process_time() - began)))
