"""A cassette around a block or a function, for use without pytest."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from ._cassette import Cassette
from .options import Options


if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


__all__ = ["cassette"]


class cassette:  # noqa: N801 -- used as a function is
    """A cassette around a block or a function, sync or async: for use without pytest.

    ::

        with cassette("calls.json") as tape:
            ...

        @cassette("calls.json", mode="once")
        async def main(): ...

    What does not fit is a ``CassetteMismatch``, at the call and, if that was swallowed, at the end.

    Args:
        path: Of the file.
        options: As ``Options``: ``mode="none"`` answers from the file alone.

    Raises:
        CassetteError: if the file cannot be read as a cassette, or an option is wrong.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self._path = path
        self._options = Options.of(options)
        self._open: list[Cassette] = []

    def __enter__(self) -> Cassette:
        opened = Cassette(self._path, self._options).start()
        self._open.append(opened)
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        self._open.pop().__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with cassette(self._path, **self._fresh()):
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with cassette(self._path, **self._fresh()):
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]

    def _fresh(self) -> dict[str, Any]:
        return {name: getattr(self._options, name) for name in Options.__slots__}
