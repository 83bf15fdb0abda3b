"""What proving costs, in memory, on one core: sealing, verifying a chain, receipts, replay of long accounts.

python bench/ledger.py [--small]
Seconds are CPU time of this process. Ratios compare with a bare loop of SHA-256 and Ed25519 over the same bytes, in
turns, so that a busy machine slows both.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "functions")]

from app.credits.core import entry as ledger  # noqa: E402
from app.credits.core.entry import Entry, EntryDraft, Kind, LotLine, Reference, hashed_bytes, seal  # noqa: E402
from app.credits.corrections import fold  # noqa: E402
from app.credits.proofs.receipts import receipt  # noqa: E402
from app.credits.proofs.signing import KeyRing, Signer, decode_bytes, thumbprint  # noqa: E402
from app.credits.proofs.verification import Link, verify_chain  # noqa: E402

ROUNDS = 5


def main() -> None:
    small = "--small" in sys.argv
    signer = Signer(bytes(range(32)))
    keys = KeyRing({thumbprint(signer.public): signer.public})
    count = 300 if small else 2_000
    entries = seal(drafts(count), "0" * 64, signer)
    stored = [entry.fields() for entry in entries]

    ours, bare = in_turns(lambda: verify(stored, keys), lambda: bare_loop(stored, keys))
    print(f"{'chain verification':34}{count / ours:10,.0f} entries/s")
    print(f"{'  bare SHA-256 + Ed25519 loop':34}{count / bare:10,.0f} entries/s   ratio {bare / ours:.2f}")
    sealing = best(lambda: seal(drafts(count), "0" * 64, signer))
    print(f"{'sealing (hash, chain, sign)':34}{count / sealing:10,.0f} entries/s")
    receipts = best(lambda: [receipt(fields, signer) for fields in stored])
    print(f"{'receipts (JWS)':34}{count / receipts:10,.0f} receipts/s")
    for size in (1_000,) if small else (1_000, 10_000, 100_000):
        chain = replayable(size)
        took = best(lambda chain=chain: fold.fold(chain), 1)  # type: ignore[misc]  # bound in this turn of the loop
        print(f"{f'replay of {size:,} entries':34}{size / took:10,.0f} entries/s   {took * 1000:,.0f} ms")


def drafts(count: int) -> list[EntryDraft]:
    """A welcome bonus and the charges of many answers."""
    made = [_draft(1, LotLine("lot_1", 10**12, "bonus"))]
    return made + [_draft(sequence, LotLine("lot_1", -1234, "bonus")) for sequence in range(2, count + 1)]


def _draft(sequence: int, line: LotLine) -> EntryDraft:
    return EntryDraft(
        account="w9Rk2mZqXfYb7TnLc0aVh3JpQd82",
        sequence=sequence,
        kind=Kind.GRANT if line.amount > 0 else Kind.SETTLE,
        amount=line.amount,
        counterpart="platform:revenue",
        lots=(line,),
        debt=0,
        balance_after=10**12 - 1234 * (sequence - 1),
        key=f"settle:msg_01mcc5rm00e8pe089qgz36{sequence:06d}",
        input="5940d6384c923bb01c8ad572f68afb9a",
        reference=Reference("message", f"msg_01mcc5rm00e8pe089qgz36{sequence:06d}", "req_01mcc5rm00e8pe089qgz361eay"),
        at_us=1_800_000_000_000_000 + sequence * 7_000_000,
        reason="completed",
        price_book="2026-11-01",
        usage={"input_tokens": 812, "output_tokens": 211, "cached_tokens": 0},
    )


def verify(stored: Sequence[object], keys: KeyRing) -> None:
    """The product's verification, every check of it."""
    verified = verify_chain(stored, keys, Link("w9Rk2mZqXfYb7TnLc0aVh3JpQd82"))
    assert verified.valid and verified.entries == len(stored), verified


def bare_loop(stored: Sequence[Mapping[str, object]], keys: KeyRing) -> None:
    """The minimum of any verifier: one hash and one signature check per entry, over prepared bytes."""
    public = keys._keys
    for raw, kid, signature in _ready(stored):
        public[kid].verify(signature, hashlib.sha256(raw).digest())


_prepared: list[tuple[bytes, str, bytes]] = []


def _ready(stored: Sequence[Mapping[str, object]]) -> list[tuple[bytes, str, bytes]]:
    if not _prepared:
        for entry in stored:
            _prepared.append((hashed_bytes(entry), str(entry["key_id"]), decode_bytes(str(entry["signature"]))))
    return _prepared


def replayable(size: int) -> list[Entry]:
    """A long chain; replay looks at links and sums, so these carry no signatures."""
    entries, previous = [], "0" * 64
    for draft in drafts(size):
        hashed = hashlib.sha256(f"{previous}{draft.sequence}".encode()).hexdigest()
        entries.append(ledger.Entry(draft, previous, "bench", hashed, ""))
        previous = hashed
    return entries


def in_turns(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The best CPU seconds of each, measured in turns."""
    other()
    ones, others = [], []
    for _ in range(ROUNDS):
        ones.append(best(one, 1))
        others.append(best(other, 1))
    return min(ones), min(others)


def best(work: Callable[[], object], rounds: int = 3) -> float:
    """The best CPU seconds of some rounds."""
    took = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


if __name__ == "__main__":
    main()
