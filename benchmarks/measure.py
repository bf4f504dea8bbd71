"""Interleaved measurements: a machine that slows down slows all variants, so only ratios are compared.

1. A *block* is a number of calls, some tens of milliseconds in all. In each *round* every variant gets one
   block, in random order; ratios are taken within a round.
2. ``control`` is a second plain client. Its ratio to the first says how far from 1 a ratio may lie by chance.
3. Garbage is collected between blocks, never within one.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Block = Callable[[int], object]


PLAIN, CONTROL = "plain", "control"

BLOCK_SECONDS = 0.03
MIN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Lap:
    """What one call of a block took, in seconds: of this process's CPU, and on the clock."""

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
    """The laps of all variants of one case, round by round."""

    def __init__(self, rounds: list[dict[str, Lap]]) -> None:
        self._rounds = rounds

    def __len__(self) -> int:
        return len(self._rounds)

    def cpu(self, variant: str) -> Spread:
        """Seconds of CPU per call."""
        return Spread.of(laps[variant].cpu for laps in self._rounds)

    def wall(self, variant: str) -> Spread:
        """Seconds on the clock per call."""
        return Spread.of(laps[variant].wall for laps in self._rounds)

    def cpu_ratio(self, variant: str) -> Spread:
        """CPU of *variant* over plain, within each round."""
        return Spread.of(laps[variant].cpu / laps[PLAIN].cpu for laps in self._rounds)

    def wall_ratio(self, variant: str) -> Spread:
        """Same as :meth:`cpu_ratio`, on the clock."""
        return Spread.of(laps[variant].wall / laps[PLAIN].wall for laps in self._rounds)

    def cpu_added(self, variant: str) -> Spread:
        """Seconds of CPU per call that *variant* takes more than plain, within each round."""
        return Spread.of(laps[variant].cpu - laps[PLAIN].cpu for laps in self._rounds)

    def wall_added(self, variant: str) -> Spread:
        """Same as :meth:`cpu_added`, on the clock."""
        return Spread.of(laps[variant].wall - laps[PLAIN].wall for laps in self._rounds)

    def floor_ratio(self, variant: str) -> float:
        """Ratio of the lower quartiles of CPU over all rounds: disturbances only ever add, so few are in there."""
        return _lower_quartile(laps[variant].cpu for laps in self._rounds) / _lower_quartile(
            laps[PLAIN].cpu for laps in self._rounds
        )


def _lower_quartile(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 4]


def interleaved(blocks: Mapping[str, Block], seconds: float) -> Laps:
    """Run *blocks*, one of them named ``plain``, for about *seconds*."""
    calls = _calls_per_block(blocks)

    def lap(variant: str) -> Lap:
        wall, cpu = perf_counter(), process_time()
        blocks[variant](calls)
        return Lap((process_time() - cpu) / calls, (perf_counter() - wall) / calls)

    return rounds(lap, blocks, seconds)


def rounds(lap: Callable[[str], Lap], variants: Iterable[str], seconds: float, *, sweep: int = 1) -> Laps:
    """Take a *lap* of each of *variants* again and again for about *seconds*.

    Args:
        lap: Measures one variant.
        variants: Names to call it with.
        seconds: No further round begins after this time.
        sweep: Rounds between two collections of garbage.
    """
    order, taken = [*variants], list[dict[str, Lap]]()
    began = perf_counter()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while len(taken) < MIN_ROUNDS or perf_counter() - began < seconds:
            random.shuffle(order)
            laps = {}
            for variant in order:
                if len(taken) % sweep == 0:
                    gc.collect()
                laps[variant] = lap(variant)
            taken.append(laps)
    finally:
        gc.enable()
        gc.unfreeze()
    return Laps(taken)


def _calls_per_block(blocks: Mapping[str, Block]) -> int:
    """How many calls fill a block; finding out also warms all variants up."""
    for _ in range(3):
        for block in blocks.values():
            block(1)
    began = perf_counter()
    blocks[PLAIN](3)
    return max(1, round(BLOCK_SECONDS * 3 / (perf_counter() - began)))
