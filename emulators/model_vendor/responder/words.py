"""Words and sentences: what matters in a text, and how to cut it."""

import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b

_STOP = """
    a about above after again all also am an and any are as at be because been before being between both but by
    can could did do does doing don't down each else few for from further get give go had has have having he her
    here hers him his how however i if in into is it its itself just kindly let like make many may me might more
    most much must my need no nor not now of off on once one only or other our out over own please same say
    shall she should so some such tell than that the their them then there these they thing things this those
    through to too under until up us use used using very want was we well were what when where which while who
    whom whose why will with would you your explain describe write show word words sentence sentences answer
    question briefly short explanation really exactly mean means work works working help detail details example
    good best way ways dear hi hello hey thanks thank ok okay list name compare difference differences versus vs
    better
"""
STOP_WORDS = frozenset(_STOP.split())
_SUFFIXES = (
    "ational",
    "ization",
    "ingly",
    "ments",
    "ment",
    "ings",
    "ing",
    "edly",
    "ers",
    "ies",
    "ied",
    "ly",
    "ed",
    "es",
    "er",
    "s",
)
_WORD = re.compile(r"[^\W\d_][\w'+#-]*|\d+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?。])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9À-ÞА-Я*#-])|\n{2,}")


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without its commonest English endings; good enough to match `hashing` with `hash`."""
    word = word.casefold()
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            root = word[: -len(suffix)]
            if suffix in ("ies", "ied"):
                return root + "y"
            return root[:-1] if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "ls" else root.rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


def words(text: str) -> list[str]:
    """Words and numbers as written."""
    return _WORD.findall(text)


def keywords(text: str, most: int = 4) -> list[str]:
    """The words that carry the meaning, most frequent first, then in order of appearance."""
    plain = (re.sub(r"['’]\w*$", "", word) for word in words(text.replace("’", "'")))
    found = [word for word in plain if word.casefold() not in STOP_WORDS and word[:1].isalpha() and len(word) > 2]
    counts = Counter(stem(word) for word in found)
    first: dict[str, str] = {}
    for word in found:
        first.setdefault(stem(word), word)
    order = list(first)
    ranked = sorted(order, key=lambda root: (-counts[root], order.index(root)))
    return [first[root] for root in ranked[:most]]


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def joined(items: list[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def pick(options: list[str], *key: str) -> str:
    """One of the options, always the same for the same key."""
    digest = blake2b("\0".join(key).encode("utf-8", "replace"), digest_size=4).digest()
    return options[int.from_bytes(digest) % len(options)]


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
