"""What a credential is called, and what one looks like that nobody told of."""

from __future__ import annotations

import re
from base64 import b64decode
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = [
    "SHAPES",
    "Shape",
    "is_credential",
    "is_field_of_secrets",
    "is_variable_of_secrets",
    "keys_in",
]


# -- names

_FIELDS: Final = frozenset({
    "access_token", "api_key", "apikey", "authorization", "client_secret", "id_token", "password",
    "refresh_token",
})  # fmt: skip
_SUBTREES: Final = frozenset({"credential_override", "customer_api_keys", "customer_credentials"})
_VARIABLES: Final = ("_key", "_token", "_secret", "_password")

#: Words, which are a field's, a column's or nobody's rather than a key.
_WORDS: Final = re.compile(r"(?=.{1,15}\Z)[A-Za-z][a-z]*+|[A-Za-z][a-z]*+(?:_[a-z]++)++")

#: The same in the query of a URL.
_PARAMETERS: Final = _FIELDS | {"code", "key", "secret", "sig", "signature", "token"}
_IN_QUERIES: Final = ("_key", "_secret", "_password")


def is_field_of_secrets(path: Sequence[object]) -> bool:
    """Whether what *path* leads to, a string or a number, is a secret because of the field that it is in.

    *path* is names, and numbers of items, from the root. A field goes by its exact name, in lower or upper
    case and with ``-`` or ``_``: ``api_key`` and what ends in ``_api_key``, ``authorization``,
    ``access_token``, ``refresh_token``, ``id_token``, ``client_secret``, ``password``; so do the items of a
    list of that name, but not what is in an object: the schema of a tool may well have a ``password``. At any
    depth of ``customer_credentials``, ``credential_override`` and ``customer_api_keys`` everything is secret.
    In a query, which has the root ``?``, so are ``key``, ``token``, ``code``, ``sig`` and what ends in
    ``_key``, ``_secret`` or ``_password``; a ``page_token`` tells requests apart.
    """
    names = [step.lower().replace("-", "_") for step in path if isinstance(step, str)]
    if not names:
        return False
    if path[0] == "?" and (names[-1] in _PARAMETERS or names[-1].endswith(_IN_QUERIES)):
        return True
    return names[-1] in _FIELDS or names[-1].endswith("_api_key") or not _SUBTREES.isdisjoint(names)


@lru_cache(maxsize=1024)  # asked of every variable, at every request
def is_variable_of_secrets(name: str) -> bool:
    """Whether an environment variable is secret: ``*_KEY``, ``*_TOKEN``, ``*_SECRET``, ``*_PASSWORD``."""
    name = name.casefold()
    return name.endswith(_VARIABLES) and name not in _VARIABLES


# -- what a request is sent with

_HEADERS: Final = frozenset({"apikey", "authorization", "proxy_authorization"})
_SCHEMES: Final = frozenset({"apikey", "basic", "bearer", "key", "token"})

#: How the names end of what is a credential for certain; another ``*_key`` may be a partition's.
_CERTAIN: Final = ("apikey", "api_key", "authorization", "password", "secret", "subscription_key")


def keys_in(name: str, value: str) -> Iterator[str]:
    """The keys in a header of a request, or in the query of its URL, which has the *name* ``?``.

    By its name, or those of the parameters. A key stands behind a scheme, or is all of the *value*; the
    password in ``Basic`` is one, too. Words are none, and where a name says little, only what looks like a
    credential is.
    """
    name = name.lower().replace("-", "_")
    if name == "?":
        yield from _keys_in_query(value)
    elif name in _HEADERS or (is_variable_of_secrets(name) and not name.endswith("idempotency_key")):
        scheme, _, key = value.strip().partition(" ")
        has_scheme = key and (name in _HEADERS or scheme.lower() in _SCHEMES)
        yield from _told(name, key.strip() if has_scheme else value.strip())
        yield from _password(key) if scheme.lower() == "basic" else ()


def _told(name: str, key: str) -> Iterator[str]:
    if not _WORDS.fullmatch(key) and (name.endswith(_CERTAIN) or is_credential(key)):
        yield key


def _password(key: str) -> Iterator[str]:
    try:
        user, _, password = b64decode(key.strip(), validate=True).decode().partition(":")
    except ValueError:
        return
    yield password or user  # some services take their key for the user, and no password


def _keys_in_query(query: str) -> Iterator[str]:
    for name, value in parse_qsl(query, errors="surrogateescape"):
        plain = name.lower().replace("-", "_")
        if plain in _PARAMETERS:
            yield from () if _WORDS.fullmatch(value) else (value,)
        elif is_variable_of_secrets(plain):
            yield from _told(plain, value)


# -- values

_CREDENTIAL: Final = re.compile(
    r"(?=[^0-9]*+[0-9])(?=[^A-Za-z]*+[A-Za-z])[A-Za-z0-9_.~+/=-]{12,}+|[A-Za-z0-9_.~+/=-]{20,}+"
)


def is_credential(value: str) -> bool:
    """Whether *value*, out of a field of secrets, is to be looked for elsewhere too.

    ``required`` and ``string`` stand in such fields as well. Replaced wherever they occur, they would spoil
    the rest; so what is short must have a digit, and ``prior_authorization_required`` is none either.
    """
    return _CREDENTIAL.fullmatch(value) is not None and not _WORDS.fullmatch(value)


class Shape(NamedTuple):
    """What the credentials of one kind look like.

    Attributes:
        what: The kind, for messages.
        hints: One of these is in all that the pattern finds, and finding them is much quicker.
        pattern: Its first group is the credential; a match without it is none.
    """

    what: str
    hints: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    def found_in(self, text: bytes) -> list[bytes]:
        """The credentials in *text*, in order."""
        if not any(map(text.__contains__, self.hints)):
            return []
        return [found[1] for found in self.pattern.finditer(text) if found[1]]


def _shape(what: str, hints: tuple[bytes, ...], pattern: bytes) -> Shape:
    return Shape(what, hints, re.compile(pattern))


# Hostile text costs time in proportion to its length. Whatever repeats without bound is possessive. What it
# has read is read again only by attempts that begin in it, and those are kept out: by what must not stand in
# front, or by a branch without a group, which passes over what is none.
_ALONE = rb"(?<![A-Za-z0-9])"
_SECRET_KEY = (
    _ALONE + rb"([sr]k-(?:"
    rb"[A-Za-z0-9_-]{0,24}\*{3,}+[A-Za-z0-9_-]{0,24}"  # as OpenAI's errors show it
    rb"|(?=[A-Za-z_-]{0,99}[0-9]|[A-Za-z0-9_-]{16})[A-Za-z0-9_-]{12,}+))"
)
_BEARER = rb"[Bb]earer[ \t]++(?=[A-Za-z._~+/=-]{0,99}[0-9])([A-Za-z0-9._~+/=-]{16,}+)"
_TOKEN = rb"(eyJ[A-Za-z0-9_-]*+\.[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+)|eyJ[A-Za-z0-9_-]*+"
_LINE_END = rb"(?:\s|\\[nr])"
_PEM = (
    rb"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----" + _LINE_END + rb"*+"
    rb"(?:[A-Z][A-Za-z-]{1,40}: [ -~]{1,80}?" + _LINE_END + rb"++){0,3}"
    rb"[A-Za-z0-9+/=]{24,}+(?:[A-Za-z0-9+/=]|" + _LINE_END + rb")*+"
    rb"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----)?)"
)
_GITHUB = (b"gho_", b"ghp_", b"ghr_", b"ghs_", b"ghu_", b"github_pat_")

#: What is looked for although nobody told of it.
SHAPES: Final = (
    _shape("a private key", (b"PRIVATE KEY-----",), _PEM),
    _shape("a JSON web token", (b"eyJ",), _TOKEN),
    _shape("what looks like an API key (sk-, rk-)", (b"sk-", b"rk-"), _SECRET_KEY),
    _shape("a bearer token", (b"earer",), _BEARER),
    _shape("an AWS access key id", (b"AKIA", b"ASIA"), _ALONE + rb"(A[KS]IA[A-Z0-9]{16})(?![A-Za-z0-9])"),
    _shape("a Google API key", (b"AIza",), rb"(?<![A-Za-z0-9_-])(AIza[A-Za-z0-9_-]{30,}+)"),
    _shape("a GitHub token", _GITHUB, _ALONE + rb"(gh[opsur]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+)"),
    _shape("a Slack token", (b"xox",), _ALONE + rb"(xox[a-z]-[A-Za-z0-9-]{10,}+)"),
)  # fmt: skip
