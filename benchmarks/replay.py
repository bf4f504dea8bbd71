"""What a replayed call costs: over an in-process transport that answers at once, and beside vcrpy and cassetter.

All replay the same answers, and take laps in turn: see ``measure``. The others are measured if they are installed.
Each lap has a cassette of its own. To open it is no part of a call; to read an answer in it, which happens once, is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import openai

from respan_openai import Gateway, wrap
from respan_openai.testing import cassette

from .local import QUICK_SECONDS, SECONDS, Result, in_process
from .measure import CONTROL, PLAIN, interleaved, with_byte_code
from .server import running


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .measure import Block


CALL_TARGET = 1.20
STREAM_TARGET = 1.25
LOAD_TARGET_MS = 3.0
IMPORT_TARGET_MS = 5.0

OURS, VCR, CASSETTER = "respan cassette", "vcrpy", "cassetter"
CHUNKED = "chunked"
STREAM_CHUNKS = 50
RECORDED_CALLS = 100
_ASK = [{"role": "user", "content": "Which network is the shortest there is?"}]


def run(*, quick: bool) -> None:
    """Measure, and print a line for each target."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for name, model, target in (
        ("call", "chat", CALL_TARGET),
        ("stream", f"chat-{STREAM_CHUNKS}", STREAM_TARGET),
    ):
        for result in _replayed(name, model, target, seconds):
            print(result.line(), flush=True)
    print(_loading().line(), flush=True)
    print(_plugin_import().line(), flush=True)


def _asks(client: Any, model: str) -> Block:
    streams = model != "chat"

    def block(calls: int) -> None:
        for _ in range(calls):
            answer = client.chat.completions.create(model=model, messages=_ASK, stream=streams)
            if streams:
                for _chunk in answer:
                    pass

    return block


def _replayed(name: str, model: str, target: float, seconds: float) -> Iterator[Result]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        origin = stack.enter_context(running())
        blocks: dict[str, Block] = {
            PLAIN: _asks(_plain(stack, origin, model), model),
            CONTROL: _asks(_plain(stack, origin, model), model),
            OURS: _asks(_wrapped(stack, origin), model),
        }
        inside = {OURS: _ours(folder / "ours.json", origin, model)}
        if model != "chat":
            # The others replay a stream in one piece, ours as it came.
            blocks[CHUNKED] = _asks(_plain(stack, origin, model, chunked=True), model)
        if find_spec("vcr") is not None:
            blocks[VCR] = _asks(_client(stack, origin), model)
            inside[VCR] = _vcr(folder / "vcr.yaml", origin, model)
        if find_spec("cassetter") is not None:
            blocks[CASSETTER] = _asks(_client(stack, origin), model)
            inside[CASSETTER] = _cassetter(folder / "cassetter.yaml", origin, model)
        laps = interleaved(blocks, seconds, inside)
    control = laps.cpu_ratio(CONTROL).median
    for variant in inside:
        yield Result(f"{name} replayed by {variant}", laps.cpu_ratio(variant).median, control, "x", target)
    if CHUNKED in blocks:
        ratio = laps.cpu_ratio(OURS, CHUNKED).median
        yield Result(f"  over a transport that answers in {STREAM_CHUNKS} chunks", ratio, None, "x")


def _plain(stack: ExitStack, origin: str, model: str, *, chunked: bool = False) -> openai.OpenAI:
    transport = in_process(model, chunked=chunked)
    return _client(stack, origin, http_client=openai.DefaultHttpxClient(transport=transport))


def _client(stack: ExitStack, origin: str, **options: Any) -> openai.OpenAI:
    # All have the same origin, because to parse an address takes longer than to parse a name.
    return stack.enter_context(
        openai.OpenAI(api_key="key", base_url=f"{origin}/v1", max_retries=0, **options)
    )


def _wrapped(stack: ExitStack, origin: str) -> openai.OpenAI:
    return wrap(_client(stack, origin), gateway=Gateway("respan-key", f"{origin}/api"))


def _ours(path: Path, origin: str, model: str) -> Callable[[], Any]:
    with ExitStack() as stack, cassette(path, mode="once"):
        _asks(_wrapped(stack, origin), model)(1)
    return lambda: cassette(path, repeats="last")


def _vcr(path: Path, origin: str, model: str) -> Callable[[], Any]:
    import vcr  # type: ignore[import-not-found]

    recorder = vcr.VCR(match_on=("method", "path", "body"))
    with ExitStack() as stack, recorder.use_cassette(str(path)):
        _asks(_client(stack, origin), model)(1)
    return lambda: recorder.use_cassette(str(path), record_mode="none", allow_playback_repeats=True)


def _cassetter(path: Path, origin: str, model: str) -> Callable[[], Any]:
    import cassetter  # type: ignore[import-not-found]

    recorder = cassetter.Cassetter(match_on=["method", "uri", "json_body"])
    with ExitStack() as stack, recorder.use_cassette(path, record_mode="once"):
        _asks(_client(stack, origin), model)(1)
    return lambda: recorder.use_cassette(path, record_mode="none")


def _loading() -> Result:
    """A file with so many calls, each with another question."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "calls.json"
        client = _wrapped(stack, stack.enter_context(running()))
        with cassette(path, mode="once"):
            for at in range(RECORDED_CALLS):
                question = [{"role": "user", "content": f"Question {at}"}]
                client.chat.completions.create(model="chat", messages=question)
        taken = [_timed(lambda: cassette(path, unused="ignore").__enter__()) for _ in range(20)]
    return Result(f"loading {RECORDED_CALLS} calls", median(taken) * 1e3, None, "ms", LOAD_TARGET_MS)


def _timed(work: Callable[[], Any]) -> float:
    began = perf_counter()
    opened = work()
    seconds = perf_counter() - began
    opened.stop(passed=False)
    return seconds


_IMPORT = """
import pytest
from time import perf_counter
began = perf_counter()
import respan_openai.pytest_plugin
print((perf_counter() - began) * 1000)
"""


def _plugin_import() -> Result:
    environment = with_byte_code()
    taken = [
        float(subprocess.check_output([sys.executable, "-c", _IMPORT], env=environment, text=True))  # noqa: S603 -- ourselves
        for _ in range(10)
    ]
    return Result("importing the pytest plugin", median(taken), None, "ms", IMPORT_TARGET_MS)
