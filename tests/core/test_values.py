"""Values: compared, shown and copied by their fields."""

from __future__ import annotations

import pickle

import pytest

from respan_openai._core.plan import Controls
from respan_openai._core.steps import Close, Sleep


def test_equality() -> None:
    """Of one kind, with the same in every field."""
    assert Sleep(1.0) == Sleep(1.0)
    assert Sleep(1.0) != Sleep(2.0)
    assert Sleep(1.0) != Close(1.0)  # type: ignore[arg-type]
    assert Sleep(1.0) != (1.0,)


def test_a_copy_with_changes() -> None:
    """What is not named stays; what is no field is refused, and the original is as it was."""
    controls = Controls(attempts=2)

    assert controls.replace(once=True) == Controls(attempts=2, once=True)
    assert controls == Controls(attempts=2)
    with pytest.raises(TypeError, match="twice"):
        controls.replace(twice=True)


def test_it_shows_its_fields() -> None:
    """In the order of its arguments."""
    assert repr(Controls(1)) == "Controls(attempts=1, backoff=None, stays=False, once=False, several=False)"


def test_it_is_pickled() -> None:
    """Like any plain object."""
    assert pickle.loads(pickle.dumps(Sleep(1.0))) == Sleep(1.0)  # noqa: S301 -- our own
