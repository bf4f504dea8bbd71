"""Origins: where a credential may go."""

from __future__ import annotations

import pytest

from respan_openai._core.origin import origin_of, same_origin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://A.example:443/y", True),
        ("http://a.example", "http://a.example:80", True),
        ("HTTPS://a.example", "https://a.example", True),
        ("https://[2001:DB8::1]/x", "https://[2001:db8::1]:443", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example:80", "http://a.example:80", False),
        ("https://a.example", "https://a.example:444", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.evil.example", False),
        ("https://a.example", "https://a.example.", False),
        ("https://a.example", "https://a.example@evil.example", False),
        ("https://a.example", "https://u@a.example", True),
        ("https://a.example", "/path", False),
        ("https://a.example:x", "https://a.example:x", False),
        ("https://a.example:65536", "https://a.example:65536", False),
        ("https://[::1", "https://[::1", False),
    ],
)
def test_origins(one, other, same) -> None:
    """Scheme, host and port, exactly (RFC 6454, section 4); never a part of one, and nothing that cannot be read."""
    assert same_origin(one, other) is same
    assert same_origin(other, one) is same


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://A.example", ("https", "a.example", 443)),
        ("http://a.example/path?query", ("http", "a.example", 80)),
        ("https://a.example:8443", ("https", "a.example", 8443)),
        ("ftp://a.example", ("ftp", "a.example", None)),
        ("/path", ("", "", None)),
    ],
)
def test_an_origin_with_its_default_port(url, origin) -> None:
    """Filled in where it is known, so that both spellings compare equal."""
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["https://a.example:x", "https://a.example:65536", "https://a.example:-1"])
def test_a_port_that_is_none(url) -> None:
    """Not guessed: the error is the caller's to handle."""
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        origin_of(url)
