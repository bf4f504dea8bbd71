"""What belongs to the running task or thread: the parameters in force, and the newest call."""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import ref

from ._carriers import Ambient
from ._core.values import Value


if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self, TypeVar

    from typing_extensions import Unpack

    from ._core.trace import Trace
    from ._params import RespanParams
    from .calls import CallRecord

    F = TypeVar("F", bound=Callable[..., Any])


__all__ = ["last_call", "params", "record_of"]

#: Under this key the trace of a call lies in ``response.extensions``.
TRACE = "respan_openai.trace"


class _Frame(Value):
    def __init__(self, ambient: Ambient, outer: _Frame | None, owner: params) -> None:
        self.ambient = ambient
        self.outer = outer
        self.owner = owner


_frame: ContextVar[_Frame | None] = ContextVar("respan_openai.params", default=None)
_newest: ContextVar[Trace | None] = ContextVar("respan_openai.last_call", default=None)


def ambient() -> Ambient | None:
    """The parameters in force here, innermost winning key by key."""
    frame = _frame.get()
    return None if frame is None else frame.ambient


class params:  # noqa: N801 -- used like a function, as contextlib.suppress is
    """Parameters for every call that is *sent* inside the block, through any framework.

    Blocks nest, and the inner one wins key by key (``variables`` merges inside). What a call itself says wins
    over both. Each task and thread has its own: a task started inside the block inherits a copy, a thread does
    not, so hand work to an executor with ``executor.submit(contextvars.copy_context().run, function)``.

    Read when a request goes out, not when it is prepared: a coroutine or ``.stream()`` manager made inside the
    block and awaited or entered outside is sent without these parameters.

    As a decorator it covers functions, coroutine functions, and generators of both kinds, for which it is in
    force only while their own code runs. (A ``with`` block that holds a ``yield`` stays in force for the
    consumer until the generator goes on.)

    Example::

        with params(customer_identifier="u1", metadata={"run": 7}):
            agent.run("...")

        @params(disable_log=True)
        async def handle(request): ...

    Raises:
        ParamsError: at once, if a name is unknown or a value is not accepted.
    """

    __slots__ = ("_params",)

    def __init__(self, **params: Unpack[RespanParams]) -> None:
        from ._params import check  # a program without parameters never needs it

        self._params = Ambient(check(cast("dict[str, object]", params)))

    def __repr__(self) -> str:
        return f"params({', '.join(self._params.params)})"

    def __enter__(self) -> Self:
        frame = _frame.get()
        inner = self._params if frame is None else frame.ambient.under(self._params)
        _frame.set(_Frame(inner, frame, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        frame = _frame.get()
        # A generator may be closed from another task, whose context never saw this block.
        if frame is not None and frame.owner is self:
            _frame.set(frame.outer)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Decorate *function*; see the class."""
        return cast("F", functools.wraps(function)(self._covering(function)))

    def _covering(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):
            return self._generator_function(function)
        if inspect.isasyncgenfunction(function):
            return self._async_generator_function(function)
        if inspect.iscoroutinefunction(function):
            return self._coroutine_function(function)

        def covered(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return covered

    def _coroutine_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def covered(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return covered

    def _generator_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def covered(*args: Any, **kwargs: Any) -> Any:
            return (yield from self._generator(function(*args, **kwargs)))

        return covered

    def _generator(self, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        resume: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                with self:
                    item = resume(value)
            except StopIteration as stop:
                return stop.value
            try:
                value, resume = (yield item), inner.send
            except GeneratorExit:
                with self:
                    inner.close()
                raise
            except BaseException as exc:
                value, resume = exc, inner.throw

    def _async_generator_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def covered(*args: Any, **kwargs: Any) -> Any:
            inner: Any = function(*args, **kwargs)
            resume: Callable[[Any], Any] = inner.asend
            value: Any = None
            while True:
                try:
                    with self:
                        item = await resume(value)
                except StopAsyncIteration:
                    return
                try:
                    value = cast("Any", (yield item))
                    resume = inner.asend
                except GeneratorExit:
                    with self:
                        await inner.aclose()
                    raise
                except BaseException as exc:
                    value, resume = exc, inner.athrow

        return covered


# --- records ---------------------------------------------------------------


class _Tie(ref[Any]):
    """A weak reference to a thing, with the trace of its call."""

    __slots__ = ("key", "trace")

    key: int
    trace: Trace


class _Attached:
    """Objects and their traces, by identity: the SDK's models are neither hashable nor ours to write to."""

    def __init__(self) -> None:
        self._held: dict[int, _Tie] = {}
        self._told = self._gone  # bound once: each stream in flight would hold one of its own

    def put(self, thing: object, trace: Trace) -> None:
        try:
            tie = _Tie(thing, self._told)
        except TypeError:
            return  # a string, say: a transcription asked for as text
        tie.key, tie.trace = id(thing), trace
        self._held[tie.key] = tie

    def _gone(self, tie: Any) -> None:
        self._held.pop(tie.key, None)

    def get(self, thing: object) -> Trace | None:
        tie = self._held.get(id(thing))
        return tie.trace if tie is not None and tie() is thing else None


_attached = _Attached()


# Methods as they are: each is called on every call, and a function around it would cost as much as what it does.

#: Lets :func:`record_of` find a trace by a thing, for as long as that lives: ``attach(thing, trace)``.
attach: Final = _attached.put

#: The trace of the newest call sent in this context, or ``None``: ``newest()``.
newest: Final = _newest.get

#: Makes a trace the newest of this context: ``set_newest(trace)``.
set_newest: Final = _newest.set


def last_call() -> CallRecord | None:
    """The record of the newest gateway call sent in this task or thread; ``None`` before the first.

    A snapshot: while an answer is still being streamed, ``done`` is false and the numbers grow.
    Calls that pass through to the provider leave no record.
    """
    trace = _newest.get()
    return None if trace is None else trace.record(monotonic())


def record_of(thing: object) -> CallRecord | None:
    """The record of the call that *thing* came from; ``None`` if it did not come through this package.

    Args:
        thing: A result of a wrapped client; a stream, raw response or HTTP response of any client; or an
            exception that a call raised.
    """
    trace = _trace_of(thing)
    return None if trace is None else trace.record(monotonic())


def _trace_of(thing: object) -> Trace | None:
    trace = _attached.get(thing)
    if trace is not None or thing is None:
        return trace
    for name in ("http_response", "response", "_response", "_raw_stream", "__cause__"):
        inner = getattr(thing, name, None)
        if inner is not None:
            return _trace_of(inner)
    extensions = getattr(thing, "extensions", None)
    return cast("dict[str, Any]", extensions).get(TRACE) if isinstance(extensions, dict) else None
