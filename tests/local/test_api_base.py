"""Where a request's own credential may go: only where code says so."""

from __future__ import annotations

from typing import Any

import pytest

from respan_openai.exceptions import ParamsError
from respan_openai.local.api_base import permitted
from respan_openai.targets import origin_text


LISTED = frozenset(
    map(
        origin_text,
        [
            "https://mine.openai.azure.com",
            "http://127.0.0.1:8080",
            "http://10.0.0.2",
            "https://[2001:db8::1]",
        ],
    )
)
PLACE = (("credential_override", "gpt-4o"), "api_base")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com"),
        ("https://mine.openai.azure.com/", "https://mine.openai.azure.com"),
        ("https://mine.openai.azure.com:443/openai/", "https://mine.openai.azure.com/openai"),
        ("HTTPS://Mine.OpenAI.Azure.com/a", "https://mine.openai.azure.com/a"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("https://[2001:DB8::1]:443/v1", "https://[2001:db8::1]/v1"),
    ],
)
def test_listed_origins(url: str, sent: str) -> None:
    """What is listed is allowed, a private address too, and comes back in its one form."""
    assert permitted(url, PLACE, LISTED) == sent


REFUSED = {
    "cloud metadata (K10)": "http://169.254.169.254/latest/meta-data",
    "another port of this machine (K10)": "http://localhost:22",
    "another port of a listed address": "http://127.0.0.1:8081",
    "a port that begins alike": "http://10.0.0.2:8080",
    "another scheme of a listed host": "http://mine.openai.azure.com",
    "another scheme, same port": "http://mine.openai.azure.com:443",
    "loopback": "http://127.0.0.1",
    "loopback in IPv6": "http://[::1]:8080",
    "loopback mapped to IPv6": "http://[::ffff:127.0.0.1]:8080",
    "loopback, decimal": "http://2130706433:8080",
    "loopback, octal": "http://0177.0.0.1:8080",
    "loopback, hexadecimal": "http://0x7f000001:8080",
    "loopback, short": "http://127.1:8080",
    "any address": "http://0.0.0.0:8080",
    "metadata, decimal": "http://2852039166",
    "metadata, octal": "http://0251.0376.0251.0376",
    "metadata, hexadecimal": "http://0xa9fea9fe",
    "metadata mapped to IPv6": "http://[::ffff:a9fe:a9fe]",
    "link-local": "http://[fe80::1]",
    "private, 10/8": "https://10.0.0.1",
    "private, 192.168/16": "https://192.168.0.1",
    "private, unique local": "https://[fd00::1]",
    "public": "https://example.com",
    "listed name with a dot at its end": "https://mine.openai.azure.com.",
    "listed name inside another": "https://mine.openai.azure.com.evil.example",
    "listed name behind another": "https://evil-mine.openai.azure.com",
    "listed name below": "https://a.mine.openai.azure.com",
    "listed name above": "https://openai.azure.com",
    "listed name in the path": "https://evil.example/mine.openai.azure.com",
    "a percent sign in the name": "https://mine.openai.azure.com%2eevil.example",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
def test_other_origins(url: str) -> None:
    """Refused, naming the origin and the setting that would allow it (faults.md, K10)."""
    with pytest.raises(ParamsError, match=r"has the origin http.*Settings\(api_bases=\[\.\.\.\]\)") as caught:
        permitted(url, PLACE, LISTED)

    assert caught.value.param == "credential_override.gpt-4o.api_base"


UNREADABLE = {
    "file (K10)": "file:///etc/passwd",
    "file with a listed host": "file://mine.openai.azure.com/etc/passwd",
    "another scheme": "ftp://mine.openai.azure.com",
    "no scheme": "mine.openai.azure.com",
    "no host": "https:///v1",
    "empty": "",
    "a user": "https://secret@mine.openai.azure.com",
    "a password": "https://user:secret@mine.openai.azure.com",
    "listed name as user": "https://mine.openai.azure.com@evil.example",
    "listed name as user behind a backslash": "https://mine.openai.azure.com\\@evil.example",
    "a query": "https://mine.openai.azure.com?secret",
    "a fragment": "https://mine.openai.azure.com#@evil.example",
    "a tab": "https://mine.openai\t.azure.com",
    "a control character": "\x1bhttps://mine.openai.azure.com",
    "a full-width dot": "https://mine.openai.azure\uff0ecom",
    "a way up": "https://mine.openai.azure.com/../admin",
    "port 0": "https://mine.openai.azure.com:0",
    "a port beyond": "https://mine.openai.azure.com:65536",
    "half an IPv6 address": "https://[2001:db8::1",
}


@pytest.mark.parametrize("origins", [LISTED, None], ids=["from a request", "from code"])
@pytest.mark.parametrize("url", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_base_url(url: str, origins: Any) -> None:
    """Refused wherever it comes from, without showing it: a user or a query may be secret."""
    with pytest.raises(ParamsError, match="must be an absolute http or https URL") as caught:
        permitted(url, PLACE, origins)

    assert "secret" not in str(caught.value)


def test_a_backslash_stays_in_the_path() -> None:
    """Parsers differ about it; what is sent to begins with the origin that was compared, and a slash."""
    assert permitted("https://mine.openai.azure.com/\\@evil.example", PLACE, LISTED).startswith(
        "https://mine.openai.azure.com/"
    )


def test_code_may_name_any_origin() -> None:
    """A saved group is configuration: nobody who writes requests can change it."""
    assert permitted("http://10.0.0.1:80/v1/", PLACE, None) == "http://10.0.0.1/v1"


def test_nothing_listed() -> None:
    """The default allows nothing."""
    with pytest.raises(ParamsError, match="which this gateway sends nothing to"):
        permitted("https://mine.openai.azure.com", PLACE, frozenset())
