"""Prices computed anew from what the vendor really sent, with the price book and the billing table alone."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from app.kit.stores.documents import Fields, int_field, text_field
from app.metering import billing
from app.models import tokens
from simulation.outside import tokenizer
from simulation.outside.book import BOOK, BY_VENDOR, Priced
from simulation.outside.model_vendor import VendorAnswer
from simulation.outside.truth import Count

BASIS: Final = {
    row["reason"]: row["basis"]
    for ending, rows in tomllib.loads(billing.PATH.read_text()).items()
    if ending != "version"
    for mode, row in rows.items()
    if mode != "image"
}
"""By reason, what the billing table charges by."""
_MOST_OUTPUT: Final = 16_384
_LEAST_OUTPUT: Final = 16
_MILLION: Final = 1_000_000


def price(given: VendorAnswer, reason: str, delivered: int, text: str | None = None) -> int:
    """What an answer costs of which `delivered` pieces reached its reader, in micro-credits.

    With `text` only so much of them did: text that comes all at once is passed on in parts.
    """
    basis = BASIS.get(reason, "nothing")
    if basis == "nothing" or not delivered:
        return 0
    used = _used(given, delivered)
    told = _cost(given, used)
    text = "".join(given.texts[:delivered]) if text is None else text
    whole = text == "".join(given.texts) and given.finish is not None
    if given.usage is not None and given.usage.whole and basis == "usage":
        return told
    if whole and given.usage is not None and given.usage.written:
        return told
    by_text = _cost(given, replace(used, output=_counted(text, delivered)))
    return min(told, by_text) if given.usage is not None and given.usage.whole else by_text


def possible(given: VendorAnswer, reason: str) -> set[int]:
    """What the answer may cost when nobody knows how much of it was read."""
    counts = range(len(given.texts) + 1)
    partly = {price(given, reason, count, "".join(given.texts[:count])[:-1]) for count in counts}
    return partly | {price(given, reason, count) for count in counts}


def most(given: VendorAnswer) -> int:
    """What the vendor itself would count for the prompt and for all that it wrote.

    Our own count, which stands for one that never came, may not be more: whoever leaves pays no more than who stays.
    """
    read = tokenizer.prompt(given.prompt)
    return _cost(given, Count(read, given.tokens, reasoning=len(given.thoughts)))


def paid_output(model: Priced, prompt: Sequence[str], reserved: int) -> int:
    """Output tokens that a reservation pays for after the longest that the prompt can be."""
    return (reserved * _MILLION - _bound(model, prompt) * model.read) // model.write


def pays(model: Priced, prompt: Sequence[str], reserved: int) -> bool:
    """Whether a reservation pays for the least useful answer."""
    return paid_output(model, prompt, reserved) >= _LEAST_OUTPUT


def overasked(asked: VendorAnswer, turn: Fields) -> Iterator[str]:
    """Why the output limit that was sent is not what may be reserved pays for after the prompt (T-10, T-29)."""
    reserved, model = int_field(turn, "ceiling"), BY_VENDOR[asked.model]
    read = min(tokenizer.prompt(asked.prompt), model.context_tokens)
    if asked.limit * model.write + read * model.read > reserved * _MILLION:
        yield f"{asked.model} may write {asked.limit} for {asked.question[-60:]!r}, and {reserved} may be reserved"
    first = next(one for one in BY_VENDOR.values() if one.id == turn["model"])
    paid = paid_output(model, asked.prompt, reserved)
    # In practice a text has two tokens for three bytes, and what the prompt leaves of the context may be written.
    room = first.context_tokens - 16 - sum(8 - len(text.encode()) * -2 // 3 for text in asked.prompt)
    wanted = min(_MOST_OUTPUT, first.max_output_tokens, model.max_output_tokens, max(room, _LEAST_OUTPUT))
    if paid < _LEAST_OUTPUT or abs(asked.limit - min(wanted, paid)) > 1:
        yield f"{asked.model} may write {asked.limit} for {asked.question[-60:]!r}, and {reserved} pay for {paid}"


def underreserved(asked: VendorAnswer, turn: Fields, most: int, without: frozenset[str]) -> Iterator[str]:
    """Why less may be reserved than the dearest model that may answer could cost, and than the `most` that could be set
    aside for it (T-20).
    """
    model = BOOK[text_field(turn, "model")]
    read = tokenizer.most(asked.prompt)
    written = min(_MOST_OUTPUT, model.max_output_tokens, max(_LEAST_OUTPUT, model.context_tokens - read))
    chain = [model, *model.chain(without)]
    worst = max(min(read, one.context_tokens) * one.read + written * one.write for one in chain) // _MILLION
    if (ceiling := int_field(turn, "ceiling")) < min(worst, most):
        yield f"{ceiling} may be reserved for {asked.question[-60:]!r}, which may cost {worst}: {most} were there"
    if not pays(model, asked.prompt, int_field(turn, "reserved")):
        yield f"{turn['reserved']} are reserved for {asked.question[-60:]!r}, and do not pay for its prompt"


def written(given: VendorAnswer, delivered: int) -> int:
    """Our count of the pieces that were delivered."""
    return _counted("".join(given.texts[:delivered]), delivered)


def _counted(text: str, pieces: int) -> int:
    return max(pieces, tokens.estimate(tokens.without_pictures(text)))


def _bound(model: Priced, prompt: Sequence[str]) -> int:
    return min(tokenizer.most(prompt), model.context_tokens)


def _used(given: VendorAnswer, delivered: int) -> Count:
    """The vendor's count, with ours for the side that it leaves out."""
    count = given.usage or Count(0, 0, read=False, written=False)
    if not count.read:
        count = replace(count, input=tokens.least(given.prompt), cached_input=0, cache_write=0)
    if not count.written:
        count = replace(count, output=written(given, delivered), reasoning=_at_least(given.thoughts))
    return count


def _at_least(pieces: Sequence[str]) -> int:
    return tokens.at_least(sum(map(len, pieces)), len(pieces))


def _cost(given: VendorAnswer, used: Count) -> int:
    """In micro-credits, rounded up once."""
    prices: Mapping[str, int] = BY_VENDOR[given.model].prices
    exact = (
        used.input * prices["input"]
        + used.cached_input * prices["cached_input"]
        + used.cache_write * prices.get("cache_write", prices["input"])
        + used.output * prices["output"]
        + used.reasoning * prices["reasoning"]
    )
    return -(-exact // _MILLION)
