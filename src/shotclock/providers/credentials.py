"""Reads a vendor's key from a file, into a type that never prints it."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError

REDACTED = "<redacted>"
TOKEN_NAMES = ("apikey", "token")
KEY = re.compile(r"[A-Za-z0-9._~+/=:-]+")


class Secret:
    """A key that prints as `<redacted>` and cannot be pickled; `reveal` is only for the vendor's client."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def redact(self, text: str) -> str:
        """The text without the key, in one line."""
        redacted = text.replace(self._value, REDACTED) if self._value else text
        return " ".join(redacted.split())

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens an account; "" leaves a value to the vendor's variables and saved accounts."""

    token: Secret
    instance: str = ""
    url: str = ""


NONE = Credentials(Secret(""))


def read(path: Path) -> Credentials:
    """The key in a file: the bare key, or JSON with `apikey` (IBM Cloud's format) or `token`.

    JSON may also name `instance` and `url`. Raises SettingsError on a file that cannot be read, that others
    may read, or that holds no key; the error never shows the file's content.
    """
    where = f"quantum.credentials_file: {path}"
    try:
        mode = path.stat().st_mode
        content = encoding.read_text(path).strip()
    except OSError as error:
        raise SettingsError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise SettingsError(f"{where}: cannot be read: {str(error).partition(' (')[0]}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{where}: must be readable only by its owner; run `chmod 600 {path}`")
    return _parse(content, where)


def _parse(text: str, where: str) -> Credentials:
    if not text.startswith("{"):
        if not KEY.fullmatch(text):
            raise SettingsError(f"{where}: must hold one key and nothing else, or IBM's JSON with `apikey`")
        return Credentials(Secret(text))
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{where}: malformed JSON at line {error.lineno}") from None
    token = next((document[name] for name in TOKEN_NAMES if isinstance(document.get(name), str)), "")
    if not KEY.fullmatch(token):
        raise SettingsError(f"{where}: must have a valid `apikey` or `token`")
    more = {name: document[name] for name in ("instance", "url") if document.get(name)}
    for name, value in more.items():
        if not isinstance(value, str):
            raise SettingsError(f"{where}: `{name}` must be text (got {type(value).__name__})")
    return Credentials(Secret(token), **more)
