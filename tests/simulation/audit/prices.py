"""Prices computed anew from what the vendor really sent, with the price book and the billing table alone."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from app.kit.stores.documents import Fields, int_field
from app.metering import billing
from app.models import catalogue, tokens
from simulation.outside.model_vendor import VendorAnswer

_MODELS: Final = {one["vendor_id"]: one for one in tomllib.loads(catalogue.BUNDLED.read_text())["models"].values()}
_BASIS: Final = {
    row["reason"]: row["basis"]
    for ending, rows in tomllib.loads(billing.PATH.read_text()).items()
    if ending != "version"
    for mode, row in rows.items()
    if mode != "image"
}
_MOST_OUTPUT: Final = 16_384
_LEAST_OUTPUT: Final = 16
_MILLION: Final = 1_000_000


def price(given: VendorAnswer, reason: str, delivered: int) -> int:
    """What an answer costs of which `delivered` pieces reached its reader, in micro-credits."""
    basis = _BASIS.get(reason, "nothing")
    if basis == "nothing" or not delivered:
        return 0
    if given.usage is None:
        return _cost(given, _by_text(given, delivered))
    told = _cost(given, _buckets(given))
    whole = delivered == len(given.texts) and given.finish is not None
    if basis == "usage" or whole:
        return told
    used = {**_buckets(given), "output": _by_text(given, delivered)["output"]}
    return min(told, _cost(given, used))


def possible(given: VendorAnswer, reason: str) -> set[int]:
    """What the answer may cost when nobody knows how much of it was read."""
    return {price(given, reason, count) for count in range(len(given.texts) + 1)}


def overasked(asked: VendorAnswer, turn: Fields) -> Iterator[str]:
    """Why the output limit that was sent is not what the reservation pays for after the prompt (T-10, T-29)."""
    reserved, model = int_field(turn, "reserved"), _MODELS[asked.model]
    prices: Mapping[str, int] = model["prices"]
    dearest = max(prices["output"], prices["reasoning"])
    read = sum(len(text) // 2 + 4 for text in asked.prompt) + 3
    if asked.limit * dearest + read * prices["input"] > reserved * _MILLION:
        yield f"{asked.model} may write {asked.limit} for {asked.question!r}, and {reserved} are reserved"
    left = reserved * _MILLION - tokens.upper_bound(asked.prompt) * prices["input"]
    wanted = min(_MOST_OUTPUT, model["max_output_tokens"])
    paid = min(wanted, left // dearest)
    if asked.limit < _LEAST_OUTPUT or abs(asked.limit - paid) > 1:
        yield f"{asked.model} may write {asked.limit} for {asked.question!r}, and {reserved} pay for {paid}"


def _by_text(given: VendorAnswer, delivered: int) -> Mapping[str, int]:
    """Our count: the prompt, what was thought, which all came before the text, and the pieces that were delivered."""
    written = max(delivered, tokens.estimate("".join(given.texts[:delivered])))
    thought = _at_least(given.thoughts)
    return {"input": tokens.least(given.prompt), "output": written, "reasoning": thought}


def _at_least(pieces: Sequence[str]) -> int:
    return tokens.at_least(sum(map(len, pieces)), len(pieces))


def _buckets(given: VendorAnswer) -> Mapping[str, int]:
    usage = cast(Mapping[str, int], given.usage)
    cached = cast(Mapping[str, int], usage["prompt_tokens_details"])["cached_tokens"]
    thought = cast(Mapping[str, int], usage["completion_tokens_details"])["reasoning_tokens"]
    written = usage["completion_tokens"] - thought
    return {
        "input": usage["prompt_tokens"] - cached,
        "cached_input": cached,
        "output": written,
        "reasoning": thought,
    }


def _cost(given: VendorAnswer, used: Mapping[str, int]) -> int:
    """In micro-credits, rounded up once."""
    prices: Mapping[str, int] = _MODELS[given.model]["prices"]
    return -(-sum(count * prices[bucket] for bucket, count in used.items()) // _MILLION)
