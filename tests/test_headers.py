"""Headers of the SDK: what is judged, and how often that is told."""

from __future__ import annotations

import warnings

from respan_openai._headers import _MOST_NAMES, Fate, HeaderRule


def test_a_dropped_name_is_told_once() -> None:
    """The warning says which header, for whom, and how to have it sent; names of providers are dropped in silence."""
    rule = HeaderRule(["x-mine"], target="Gateway")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fates = [rule[name] for name in (b"X-Other", b"X-Other", b"X-Mine", b"Cookie")]

    assert fates == [Fate.DROP, Fate.DROP, Fate.KEEP, Fate.DROP]
    [warning] = caught
    assert "'x-other' is not sent to Gateway" in str(warning.message)
    assert "headers=['x-other']" in str(warning.message)


def test_names_without_end() -> None:
    """Whoever calls a server may make them up: no more of them are remembered, or told, than a bound allows."""
    rule = HeaderRule(target="Gateway")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fates = {rule[b"x-made-up-%d" % at] for at in range(2 * _MOST_NAMES)}

    assert fates == {Fate.DROP}
    assert len(rule) == len(caught) == _MOST_NAMES
