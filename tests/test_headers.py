"""Headers of the SDK: what is judged, and how often that is told."""

from __future__ import annotations

import warnings

from respan_openai._families import has_header, line, set_headers
from respan_openai._headers import _MOST_NAMES, HeaderRule


def test_a_dropped_name_is_told_once() -> None:
    """The warning says which header, for whom, and how to have it sent; names of providers are dropped in silence."""
    rule = HeaderRule(["x-mine"], target="Gateway")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fates = [rule[name] for name in (b"X-Other", b"X-Other", b"X-Mine", b"Cookie")]

    assert fates == ["drop", "drop", "keep", "drop"]
    [warning] = caught
    assert "'x-other' is not sent to Gateway" in str(warning.message)
    assert "headers=['x-other']" in str(warning.message)


def test_names_without_end() -> None:
    """Whoever calls a server may make them up: no more of them are remembered, or told, than a bound allows."""
    rule = HeaderRule(target="Gateway")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fates = {rule[b"x-made-up-%d" % at] for at in range(2 * _MOST_NAMES)}

    assert fates == {"drop"}
    assert len(rule) == len(caught) == _MOST_NAMES


class Unusual(dict[str, str]):
    """Headers that are kept in another way than the families have it today."""


def test_headers_are_set_as_one_by_one(library) -> None:
    """Whether they are new or there already, in any case, as often as they are there."""
    for before in ([], [("X-A", "1"), ("b", "2")], [("x-a", "1"), ("X-A", "2"), ("x-c", "3")]):
        headers, expected = (library.Headers(before) for _ in range(2))

        set_headers(headers, [line("X-A", "\N{SNOWMAN}"), line("x-d", "4")])
        expected["X-A"], expected["x-d"] = "\N{SNOWMAN}", "4"

        assert headers.raw == expected.raw


def test_headers_are_found(library) -> None:
    """In any case."""
    headers = library.Headers([("Set-Cookie", "a=b")])

    assert has_header(headers, b"set-cookie")
    assert not has_header(headers, b"cookie")


def test_headers_that_are_kept_in_another_way() -> None:
    """By what every mapping can do."""
    headers = Unusual({"set-cookie": "a=b"})

    set_headers(headers, [line("x-a", "1")])

    assert headers == {"set-cookie": "a=b", "x-a": "1"}
    assert has_header(headers, b"set-cookie")
    assert not has_header(headers, b"cookie")
