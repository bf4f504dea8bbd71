"""A wrapped client against a plain one: CPU and wall as ratios, first token, chunks, import, memory.

Both clients speak through real sockets to the same loopback server, so that the ratio is that of whole calls
with a provider that answers at once: the worst case. CPU is this process's only.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import tracemalloc
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import openai

from respan_openai import Gateway, RespanParams, params, wrap

from .measure import CONTROL, MIN_ROUNDS, PLAIN, Lap, Laps, Spread, interleaved, rounds, with_byte_code
from .server import ROOT, running


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .measure import Block

    #: One call of a client: its result, or with an async client an awaitable of it.
    Call = Callable[[Any], Any]

    Clients = Mapping[str, Any]


WRAPPED = "wrapped"
#: Wrapped, in a block that was made and entered before.
IN_PARAMS = "params()"
PARAMS = RespanParams(
    customer_identifier="user_123", thread_identifier="t-1", metadata={"run": 7, "tier": "pro"}
)

CALL_TARGET = 1.03
LARGE_TARGET = 1.02
STREAM_TARGET = 1.02
CHUNK_TARGET_US = 3.0
FIRST_TOKEN_TARGET_US = 30.0
IMPORT_TARGET_MS = 15.0
MEMORY_TARGET_KB = 2.0

#: Of measuring, for each case.
SECONDS = 10.0
QUICK_SECONDS = 1.0

STREAM_CHUNKS = 1000
IN_FLIGHT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the result.

    Attributes:
        name: What was measured.
        unit: ``x`` for ratios to the plain client; else figures are what is added to it, in this unit.
        plain: The plain client's, in *unit*; CPU in microseconds per call beside ratios.
        wrapped: What is held against the target: CPU, or for the first token and the import the clock.
        wall: As *wrapped*, on the clock; ratios only.
        control: As *wrapped*, for a second plain client.
        floor: Ratio of the fastest tenth of the laps of both; ratios only.
        control_floor: As *floor*, for a second plain client.
        target: The most that the median of *wrapped* may be; ``None`` for information only.
        rounds: How often it was measured.
    """

    name: str
    unit: str
    plain: float
    wrapped: Spread
    wall: Spread | None = None
    control: Spread
    floor: float | None = None
    control_floor: float | None = None
    target: float | None
    rounds: int

    @property
    def verdict(self) -> str:
        """``met`` or ``MISSED``, and whether the control says not to trust it; empty if there is no target."""
        if self.target is None:
            return ""
        verdict = "met" if self.wrapped.median <= self.target else "MISSED"
        return verdict if not self.is_noisy else f"{verdict}, but noisy"

    @property
    def is_noisy(self) -> bool:
        """Whether two plain clients differ more than a measurement of this size can bear."""
        off = abs(self.control.median - 1) if self.unit == "x" else abs(self.control.median)
        return off > (0.01 if self.unit == "x" else (self.target or 0) / 3)


def run(*, quick: bool, json_file: Path | None) -> None:
    """Measure everything and print it; *quick* gives each case a tenth of the time."""
    machine = _machine()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print("\n" + _HEADING)
    rows = []
    for row in _rows(QUICK_SECONDS if quick else SECONDS):
        rows.append(row)
        print(_line(row), flush=True)
    verdicts = [row.verdict for row in rows]
    met, missed = (sum(verdict.startswith(word) for verdict in verdicts) for word in ("met", "MISSED"))
    print(f"\n{met} targets met, {missed} MISSED.\n{_LEGEND}")
    if json_file is not None:
        results = [{**asdict(row), "verdict": row.verdict} for row in rows]
        json_file.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def _rows(seconds: float) -> Iterator[Row]:
    os.environ["NO_PROXY"] = "127.0.0.1"  # a proxy of the environment would be measured instead
    with running() as server:
        clients = _clients(openai.OpenAI, server)
        yield from _blocking(clients, seconds)
        with asyncio.Runner() as runner:
            yield from _awaited(runner, _clients(openai.AsyncOpenAI, server), seconds)
        yield from _first_token(clients, seconds)
        yield _memory(clients)
    yield from _imports(seconds)


def _clients(make: Callable[..., Any], server: str) -> Clients:
    """Two plain clients and a wrapped one, each with connections of its own."""

    def plain() -> Any:
        return make(base_url=f"{server}/v1", api_key="sk-bench")

    gateway = Gateway("rk-bench", f"{server}/api")
    return {PLAIN: plain(), CONTROL: plain(), WRAPPED: wrap(plain(), gateway=gateway)}


# --- what is called --------------------------------------------------------

_SHORT = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Which network is the shortest there is?"},
]
_SENTENCE = "The quick brown fox jumps over the lazy dog, and then does so again. "


def _messages(count: int) -> list[dict[str, str]]:
    """200 KB of text in *count* messages."""
    text = (_SENTENCE * 3000)[: 200_000 // count]
    return [{"role": "user", "content": text} for _ in range(count)]


_MANY, _ONE = _messages(100), _messages(1)


def _chat(client: Any) -> Any:
    return client.chat.completions.create(model="chat", messages=_SHORT, temperature=0.5)


def _chat_with_keywords(client: Any) -> Any:
    return client.chat.completions.create(model="chat", messages=_SHORT, temperature=0.5, **PARAMS)


def _chat_with_extra_body(client: Any) -> Any:
    return client.chat.completions.create(model="chat", messages=_SHORT, temperature=0.5, extra_body=PARAMS)


def _chat_in_own_block(client: Any) -> Any:
    with params(**PARAMS):
        return _chat(client)


def _responses(client: Any) -> Any:
    return client.responses.create(model="responses", input="Which network is the shortest there is?")


def _chat_many(client: Any) -> Any:
    return client.chat.completions.create(model="chat", messages=_MANY)


def _chat_one(client: Any) -> Any:
    return client.chat.completions.create(model="chat", messages=_ONE)


def _stream(client: Any, chunks: int = STREAM_CHUNKS) -> Any:
    return client.chat.completions.create(model=f"chat-{chunks}", messages=_SHORT, stream=True)


def _whole_stream(client: Any) -> None:
    for _ in _stream(client):
        pass


async def _whole_stream_awaited(client: Any) -> None:
    async for _ in await _stream(client):
        pass


# --- how it is called ------------------------------------------------------


def _one_by_one(client: Any, call: Call) -> Block:
    def block(calls: int) -> None:
        for _ in range(calls):
            call(client)

    return block


def _awaited_one_by_one(runner: asyncio.Runner, client: Any, call: Call) -> Block:
    async def block(calls: int) -> None:
        for _ in range(calls):
            await call(client)

    return lambda calls: runner.run(block(calls), context=copy_context())


def _awaited_at_once(runner: asyncio.Runner, client: Any, call: Call) -> Block:
    async def block(calls: int) -> None:
        for _ in range(calls):
            await asyncio.gather(*(call(client) for _ in range(IN_FLIGHT)))

    return lambda calls: runner.run(block(calls), context=copy_context())


# --- the cases -------------------------------------------------------------


def _blocking(clients: Clients, seconds: float) -> Iterator[Row]:
    def blocks(call: Call) -> dict[str, Block]:
        return {name: _one_by_one(client, call) for name, client in clients.items()}

    wrapped = clients[WRAPPED]
    own = {"params() per call": _one_by_one(wrapped, _chat_in_own_block)}
    keywords = {**blocks(_chat_with_extra_body), WRAPPED: _one_by_one(wrapped, _chat_with_keywords)}
    yield from _calls("chat", {**_with_params(blocks(_chat)), **own}, seconds)
    yield from _calls("chat, keywords", keywords, seconds)
    yield from _calls("Responses", _with_params(blocks(_responses)), seconds)
    yield from _calls("200 KB, 100 messages", _with_params(blocks(_chat_many)), seconds, target=LARGE_TARGET)
    yield from _calls("200 KB, 1 message", _with_params(blocks(_chat_one)), seconds, target=LARGE_TARGET)
    yield from _streams("stream, 1,000 chunks", blocks(_whole_stream), seconds)


def _awaited(runner: asyncio.Runner, clients: Clients, seconds: float) -> Iterator[Row]:
    def one_by_one(call: Call) -> dict[str, Block]:
        return {name: _awaited_one_by_one(runner, client, call) for name, client in clients.items()}

    def at_once(call: Call) -> dict[str, Block]:
        return {name: _awaited_at_once(runner, client, call) for name, client in clients.items()}

    for name, call in (("chat", _chat), ("Responses", _responses)):
        yield from _calls(f"async {name}", _with_params(one_by_one(call)), seconds)
        at_once_name = f"async {name}, {IN_FLIGHT} at once"
        yield from _calls(at_once_name, _with_params(at_once(call)), 2 * seconds, calls=IN_FLIGHT)
    yield from _streams("async stream, 1,000 chunks", one_by_one(_whole_stream_awaited), seconds)


def _with_params(blocks: dict[str, Block]) -> dict[str, Block]:
    return {**blocks, IN_PARAMS: blocks[WRAPPED]}


def _calls(
    name: str, blocks: Mapping[str, Block], seconds: float, *, calls: int = 1, target: float = CALL_TARGET
) -> Iterator[Row]:
    """A row for each wrapped variant; *calls* says how many the block counts as one."""
    covering = params(**PARAMS)
    laps = interleaved(blocks, seconds, {IN_PARAMS: lambda: covering})
    for variant in [variant for variant in blocks if variant not in {PLAIN, CONTROL}]:
        shown = name if variant == WRAPPED else f"{name}, {variant}"
        yield _ratio(shown, laps, variant, calls=calls, target=target)


def _streams(name: str, blocks: Mapping[str, Block], seconds: float) -> Iterator[Row]:
    laps = interleaved(blocks, seconds)
    yield _ratio(name, laps, WRAPPED, target=STREAM_TARGET)
    yield Row(
        name=f"{name}: each",
        unit="us",
        plain=laps.cpu(PLAIN).median * 1e6 / STREAM_CHUNKS,
        wrapped=laps.cpu_added(WRAPPED).times(1e6 / STREAM_CHUNKS),
        control=laps.cpu_added(CONTROL).times(1e6 / STREAM_CHUNKS),
        target=CHUNK_TARGET_US,
        rounds=len(laps),
    )


def _ratio(name: str, laps: Laps, variant: str, *, target: float, calls: int = 1) -> Row:
    return Row(
        name=name,
        unit="x",
        plain=laps.cpu(PLAIN).median * 1e6 / calls,
        wrapped=laps.cpu_ratio(variant),
        wall=laps.wall_ratio(variant),
        control=laps.cpu_ratio(CONTROL),
        floor=laps.floor_ratio(variant),
        control_floor=laps.floor_ratio(CONTROL),
        target=target,
        rounds=len(laps),
    )


def _first_token(clients: Clients, seconds: float) -> Iterator[Row]:
    """From the call to the first chunk with text in it: before that there is nothing to show."""

    def lap(variant: str) -> Lap:
        wall, cpu = perf_counter(), process_time()
        with _stream(clients[variant], 3) as stream:
            while not next(stream).choices[0].delta.content:
                pass
            taken = Lap(process_time() - cpu, perf_counter() - wall)
            for _ in stream:
                pass
        return taken

    laps = rounds(lap, clients, seconds)
    for name, plain, added in (
        ("first token, on the clock", laps.wall, laps.wall_added),
        ("first token, CPU", laps.cpu, laps.cpu_added),
    ):
        yield Row(
            name=name,
            unit="us",
            plain=plain(PLAIN).median * 1e6,
            wrapped=added(WRAPPED).times(1e6),
            control=added(CONTROL).times(1e6),
            target=FIRST_TOKEN_TARGET_US,
            rounds=len(laps),
        )


def _memory(clients: Clients, streams: int = 50, repeats: int = 3) -> Row:
    """Memory that Python has allocated for each of *streams* that are open at once."""

    def kilobytes(variant: str) -> float:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        with ExitStack() as stack:
            for _ in range(streams):
                next(stack.enter_context(_stream(clients[variant], 3)))
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / streams / 1024

    tracemalloc.start()
    try:
        taken = [{variant: kilobytes(variant) for variant in clients} for _ in range(repeats)]
    finally:
        tracemalloc.stop()
    return Row(
        name="memory per open stream",
        unit="KB",
        plain=median(sizes[PLAIN] for sizes in taken),
        wrapped=Spread.of(sizes[WRAPPED] - sizes[PLAIN] for sizes in taken),
        control=Spread.of(sizes[CONTROL] - sizes[PLAIN] for sizes in taken),
        target=MEMORY_TARGET_KB,
        rounds=repeats,
    )


# --- import ----------------------------------------------------------------

# Milliseconds since the interpreter was up: after openai, after all that wrap() needs, and after its first use.
_CHILD = """
from time import perf_counter
began = perf_counter()
import openai
after = [perf_counter()]
if {wrapped}:
    import respan_openai
    respan_openai.wrap, respan_openai.params, respan_openai.Gateway
    after.append(perf_counter())
    respan_openai.params(customer_identifier="user_123")
after.append(perf_counter())
print(*((moment - began) * 1000 for moment in after))
"""


def _imports(seconds: float) -> Iterator[Row]:
    """Interpreters are started anew and in turn; what they print is told apart by its length."""
    taken: list[dict[str, list[float]]] = []
    _import_milliseconds(wrapped=True)  # writes the byte code
    began = perf_counter()
    while len(taken) < MIN_ROUNDS or perf_counter() - began < 2 * seconds:
        taken.append(
            {name: _import_milliseconds(wrapped=name == WRAPPED) for name in (PLAIN, WRAPPED, CONTROL)}
        )

    def row(name: str, wrapped: Spread, target: float | None) -> Row:
        control = Spread.of(
            times[CONTROL][0] - times[PLAIN][0] for times in taken
        )  # of importing openai alone
        plain = median(times[PLAIN][0] for times in taken)
        return Row(
            name=name,
            unit="ms",
            plain=plain,
            wrapped=wrapped,
            control=control,
            target=target,
            rounds=len(taken),
        )

    yield row("import", Spread.of(times[WRAPPED][1] - times[WRAPPED][0] for times in taken), IMPORT_TARGET_MS)
    yield row("first params()", Spread.of(times[WRAPPED][2] - times[WRAPPED][1] for times in taken), None)


def _import_milliseconds(*, wrapped: bool) -> list[float]:
    command = [sys.executable, "-c", _CHILD.format(wrapped=wrapped)]
    printed = subprocess.check_output(command, cwd=ROOT, env=with_byte_code(), text=True)  # noqa: S603 -- ourselves
    return [float(number) for number in printed.split()]


# --- printing --------------------------------------------------------------

_HEADING = (
    f"{'':38} {'plain':>12}  {'wrapped: median [min .. max]':34} {'A/A':>7}  {'wall':>6}  "
    f"{'floor':>6} {'A/A':>6}  target"
)
_LEGEND = """\
Figures with an x are ratios to the plain client's CPU, others are added to it. A/A: a second plain client in
place of the wrapped one; for the import, how far two imports of openai alone lie apart. Floor: the ratio of the
fastest tenth of all laps, with its own A/A; trust neither figure further than its A/A is from 1."""


def _line(row: Row) -> str:
    if row.unit == "x":
        plain, form, unit = f"{row.plain:,.0f} us", ".3f", "x"
    else:
        plain, form, unit = f"{row.plain:,.1f} {row.unit}", "+.1f", f" {row.unit}"
    wrapped = f"{row.wrapped.median:{form}}{unit} [{row.wrapped.min:{form}} .. {row.wrapped.max:{form}}]"
    wall, floor, control_floor = (
        "" if number is None else f"{number:.3f}"
        for number in (row.wall and row.wall.median, row.floor, row.control_floor)
    )
    target = "" if row.target is None else f"{row.target:{form}}"
    return (
        f"{row.name:38} {plain:>12}  {wrapped:34} {format(row.control.median, form):>7}  {wall:>6}  "
        f"{floor:>6} {control_floor:>6}  {target:>6} {row.verdict}"
    )


def _machine() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        "machine": f"{os.cpu_count()} cores, {_cpu_model()}, {platform.system()} {platform.machine()}",
    }


_PACKAGES = ("respan-openai", "openai", "httpx", "httpx2", "pydantic", "wrapt")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown CPU"
