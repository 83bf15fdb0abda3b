"""Guesses what somebody meant who wrote a name that does not exist, for the end of an error message."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_FROM_JAVASCRIPT: Final = {
    "endswith": "endsWith",
    "haschildern": "hasChildren",
    "includes": "contains",
    "indexof": "contains",
    "isint": "isNumber",
    "isnull": "exists",
    "match": "matches",
    "replaceall": "replace",
    "search": "matches",
    "size": "length",
    "startswith": "beginsWith",
    "test": "matches",
    "value": "val",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` if one of the known names looks meant, else nothing."""
    names = {candidate.lower(): candidate for candidate in known}
    habit = _FROM_JAVASCRIPT.get(name.lower())
    if habit is not None and habit.lower() in names:
        return f" Did you mean '{habit}'?"
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.75)
    return f" Did you mean '{names[close[0]]}'?" if close else ""
