"""A vendor's key by reference to a file, in a type that shows it to nobody."""

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
    """A key that prints as `<redacted>` and does not pickle; `reveal` is for the vendor alone."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def redact(self, text: str) -> str:
        """The text without the key, in one line."""
        shown = text.replace(self._value, REDACTED) if self._value else text
        return " ".join(shown.split())

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not leave its process")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens an account; "" is left to the vendor's own variables and saved accounts."""

    token: Secret
    instance: str = ""
    url: str = ""


NONE = Credentials(Secret(""))


def read(path: Path) -> Credentials:
    """The key in a file: the bare key, or JSON with `apikey` (as IBM Cloud hands it out) or `token`.

    JSON may also name `instance` and `url`. Raises SettingsError on a file that cannot be read, that
    others may read, or that holds no key; its text never shows the file's content.
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
        raise SettingsError(f"{where}: others may read it; run `chmod 600 {path}`")
    return _parse(content, where)


def _parse(text: str, where: str) -> Credentials:
    if not text.startswith("{"):
        if not KEY.fullmatch(text):
            raise SettingsError(f"{where}: must be one key and nothing else, or IBM's JSON with `apikey`")
        return Credentials(Secret(text))
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{where}: malformed JSON at line {error.lineno}") from None
    token = next((document[name] for name in TOKEN_NAMES if isinstance(document.get(name), str)), "")
    if not KEY.fullmatch(token):
        raise SettingsError(f"{where}: has no `apikey` and no `token` that is a key")
    more = {name: document[name] for name in ("instance", "url") if document.get(name)}
    for name, value in more.items():
        if not isinstance(value, str):
            raise SettingsError(f"{where}: `{name}` must be text")
    return Credentials(Secret(token), **more)
