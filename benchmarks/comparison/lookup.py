"""Names that a user gives, looked up among those that are known."""

import difflib
from collections.abc import Collection, Iterable

from mmptq.errors import ConfigError


def find(name: str, known: Collection[str], what: str) -> str:
    """``name``, if it is known.

    Args:
        name: As given.
        known: All names.
        what: A name of what they are, for the message.

    Raises:
        ConfigError: It is not; names those that are.
    """
    if name not in known:
        close = difflib.get_close_matches(name, list(known), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(f"there is no {what} {name!r}; {hint}Known: {', '.join(known)}")
    return name


def pairs(given: Iterable[str], option: str, known: Collection[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` of an option to a dict.

    Raises:
        ConfigError: One has another form, or its name is unknown.
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not value:
            raise ConfigError(f"{option} {text}: must have the form NAME=VALUE")
        found[find(name, known, what)] = value
    return found
