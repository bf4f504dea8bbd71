"""Run a flow to its end: the only two loops, one blocking, one awaited.

*perform* carries out one step. In the awaited loop it may return an awaitable, so one table of
performers serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Generator


T = TypeVar("T")


def drive(flow: Generator[Any, Any, T], perform: Callable[[Any], Any]) -> T:
    """Run *flow* and return what it returns; what *perform* raises is thrown into the flow."""
    try:
        step = next(flow)
        while True:
            try:
                result = perform(step)
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()


async def adrive(flow: Generator[Any, Any, T], perform: Callable[[Any], Any]) -> T:
    """Same as :func:`drive`, but an awaitable result of *perform* is awaited."""
    try:
        step = next(flow)
        while True:
            try:
                result = perform(step)
                if hasattr(result, "__await__"):
                    result = await result
            except BaseException as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()
