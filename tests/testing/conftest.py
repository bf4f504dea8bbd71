"""What the tests of cassettes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.testing.llm_server import put_back


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _modules_stay() -> Iterator[None]:
    """What a run inside of a test loads stays loaded when pytester is through."""
    yield
    put_back()
