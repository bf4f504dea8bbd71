"""What the gateway in the process costs: a call, a hit in the cache, a hundred streams, a reservation.

Every ratio is taken within one run, lap by lap: see ``measure``. CPU is this process's, all of its threads; the
server on loopback is another one. Lines without a target are there to judge the others by.
"""

from __future__ import annotations

import gc
import os
import tempfile
import tracemalloc
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import openai

from respan_openai import Charge, LocalGateway, MemoryStore, SQLiteStore, Via

from .measure import CONTROL, PLAIN, interleaved
from .server import head_and_body, running


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .measure import Block, Laps


CALL_TARGET = 1.15
HIT_TARGET_US = 100.0
STREAM_TARGET_KB = 60.0
SQLITE_TARGET_US = 200.0

SECONDS = 10.0
QUICK_SECONDS = 2.0

#: What SQLite calls, where there is one.
_WRITE_OUT = getattr(os, "fdatasync", os.fsync)

#: A folder whose files lie in memory, where there is one.
_MEMORY = Path("/dev/shm")  # noqa: S108 -- not ours to choose, and what is made in it has a name of its own

STREAMS = 100
RESERVATIONS = 500

LOCAL, BARE = "local", "bare"
_BASE_URL = "http://respan.invalid/api"
_ASK = [{"role": "user", "content": "Which network is the shortest there is?"}]


@dataclass(frozen=True, slots=True)
class Result:
    """One line: what was measured, in which unit, and the most it may be."""

    name: str
    value: float
    control: float | None
    unit: str
    target: float | None = None

    def line(self) -> str:
        """For a terminal."""
        control = "" if self.control is None else f"(control {self.control:.3f})"
        return f"{self.name:<58} {self.value:>9.3f} {self.unit:<3} {control:<17} {self._verdict()}".rstrip()

    def _verdict(self) -> str:
        if self.target is None:
            return ""
        return f"target {self.target:g}  {'met' if self.value <= self.target else 'MISSED'}"


def run(*, quick: bool) -> None:
    """Measure, and print a line for each target."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for measure in (_call, _hit, _streams, _sqlite):
        for result in measure(seconds):
            print(result.line(), flush=True)


def _family() -> Any:
    """The HTTP library that the installed SDK is built on."""
    if int(openai.VERSION.partition(".")[0]) >= 3:
        import httpx2

        return httpx2
    import httpx

    return httpx


def in_process(model: str, *, chunked: bool = False) -> Any:
    """A transport that answers at once, with what the loopback server answers to *model*.

    The body comes in one piece, or *chunked* as the server sends it.
    """
    family = _family()
    head, pieces = head_and_body(model)
    headers = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[1:] if line]
    body = pieces if chunked else b"".join(pieces)

    def respond(_request: Any) -> Any:
        return family.Response(200, headers=headers, content=body)

    return family.MockTransport(respond)


def _client(transport: Any) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="key", base_url=_BASE_URL, http_client=_family().Client(transport=transport), max_retries=0
    )


def _plain(origin: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="key", base_url=f"{origin}/v1", max_retries=0)


def _chats(client: openai.OpenAI, **extra: Any) -> Block:
    def block(calls: int) -> None:
        for _ in range(calls):
            client.chat.completions.create(model="chat", messages=_ASK, extra_body=extra)  # type: ignore[arg-type]

    return block


@contextmanager
def _served() -> Iterator[Callable[[Any], openai.OpenAI]]:
    with ExitStack() as stack:
        yield lambda transport: stack.enter_context(_client(transport))


def _call(seconds: float) -> Iterator[Result]:
    gateway = LocalGateway([Via("p", in_process("chat"))], prices={"chat": (1.0, 2.0)})
    with running() as origin, _plain(origin) as plain, _plain(origin) as control, _served() as client:
        blocks = {PLAIN: _chats(plain), CONTROL: _chats(control), LOCAL: _chats(client(gateway.transport()))}
        laps = interleaved(blocks, seconds)
    name = "call with an in-process provider, over the SDK on loopback"
    yield Result(name, laps.cpu_ratio(LOCAL).median, laps.cpu_ratio(CONTROL).median, "x", CALL_TARGET)


def _hit(seconds: float) -> Iterator[Result]:
    stores = {"memory": lambda _: MemoryStore(), "SQLite": SQLiteStore}
    for name, make in stores.items():
        with tempfile.TemporaryDirectory() as folder:
            store = make(Path(folder) / "cache.db")
            laps = _hit_laps(LocalGateway([Via("p", in_process("chat"))], store=store), seconds)
            store.close()
        added, control = laps.cpu_added(LOCAL).median * 1e6, laps.cpu_added(CONTROL).median * 1e6
        bare = (laps.cpu(LOCAL).median - laps.cpu(BARE).median) * 1e6
        yield Result(f"cache hit ({name}), over the SDK on loopback", added, control, "us", HIT_TARGET_US)
        yield Result(f"cache hit ({name}), over the SDK without a network", bare, None, "us")


def _hit_laps(gateway: LocalGateway, seconds: float) -> Laps:
    with running() as origin, _plain(origin) as plain, _plain(origin) as control, _served() as client:
        return interleaved(
            {
                PLAIN: _chats(plain),
                CONTROL: _chats(control),
                BARE: _chats(client(in_process("chat"))),
                LOCAL: _chats(client(gateway.transport()), cache_enabled=True, disable_log=True),
            },
            seconds,
        )


def _streams(_seconds: float) -> Iterator[Result]:
    """Memory of the gateway's side: what is open in a client on top of it, less what a plain one holds."""
    with running() as origin, _served() as client, _plain(origin) as plain:
        from respan_openai import Provider

        gateway = LocalGateway([Provider("p", f"{origin}/v1", "key")])
        local = client(gateway.transport())
        sizes = [(_open(local), _open(plain)) for _ in range(3)]
    value, control = median(size for size, _ in sizes), median(size for _, size in sizes)
    yield Result(f"memory of each of {STREAMS} open streams", value, control, "KB", STREAM_TARGET_KB)


def _open(client: openai.OpenAI) -> float:
    """Kilobytes that Python has allocated for each of many streams that are open at once."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with ExitStack() as stack:
            for _ in range(STREAMS):
                stream = client.chat.completions.create(model="chat-3", messages=_ASK, stream=True)  # type: ignore[arg-type]
                next(iter(stack.enter_context(stream)))
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / STREAMS / 1024
    finally:
        tracemalloc.stop()


def _sqlite(_seconds: float) -> Iterator[Result]:
    """The work, on a file system in memory; and on the disk, which is asked twice whether it has written."""
    if _MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            yield Result(
                "SQLite: reserving and settling, in memory", _ledger(folder), None, "us", SQLITE_TARGET_US
            )
    with tempfile.TemporaryDirectory() as folder:
        yield Result("SQLite: the same on the disk", _ledger(folder), None, "us")
        waits = [_written(Path(folder) / "bare") for _ in range(RESERVATIONS)]
    yield Result("  where to wait for it twice takes", median(waits) * 2e6, None, "us")


def _ledger(folder: str) -> float:
    """Microseconds on the clock."""
    store = SQLiteStore(Path(folder) / "ledger.db")
    taken = [_reserved(store, f"hold-{at}") for at in range(RESERVATIONS)]
    store.close()
    return median(taken) * 1e6


def _reserved(store: SQLiteStore, hold: str) -> float:
    charges = [Charge("ada", "2026-11", 10, 10**15), Charge("ada", "total", 10, 10**15)]
    began = perf_counter()
    store.reserve(hold, charges, 1e9, 1e9 + 60)
    store.settle(hold, [7, 7], 1e9 + 1)
    return perf_counter() - began


def _written(path: Path) -> float:
    """Seconds until a page that was appended to *path* is on the disk."""
    with path.open("ab", buffering=0) as file:
        file.write(bytes(4096))
        began = perf_counter()
        _WRITE_OUT(file.fileno())
        return perf_counter() - began
