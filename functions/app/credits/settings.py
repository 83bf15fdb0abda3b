"""What a deployment decides about credits. Amounts are micro-credits; a credit costs USD 0.024 at list price."""

import base64
from typing import NamedTuple

from app.kit.clock import minutes
from app.kit.environment import BadSetting, Environment, decode_key32
from app.kit.money import credits


class CreditsSettings(NamedTuple):
    """`signing_key` is the seed of the Ed25519 key that signs entries; `retired_keys` are public keys, in base64url,
    that signed before. `low_threshold`: below how much a new account is warned. `chain_checks`: accounts that
    each sweep verifies in turn.
    """

    signing_key: bytes
    retired_keys: tuple[str, ...] = ()
    max_reservation: int = credits(1000)
    reservation_expiry_us: int = minutes(30)
    low_threshold: int = credits(50)
    chain_checks: int = 20

    @classmethod
    def read(cls, env: Environment) -> "CreditsSettings":
        """Raises `BadSetting`."""
        # Spelled anew: a key's id is the hash of its canonical text, and an operator may give it with padding.
        keys = [decode_key32("LEDGER_RETIRED_KEYS", word) for word in env.words("LEDGER_RETIRED_KEYS", "")]
        retired = tuple(base64.urlsafe_b64encode(key).rstrip(b"=").decode() for key in keys)
        seed = env.key32("LEDGER_SIGNING_KEY")
        if retired:
            # Late: without retired keys no function loads the cryptography before it needs it.
            from app.credits.proofs.signing import Signer

            if Signer(seed).public in retired:
                raise BadSetting("LEDGER_SIGNING_KEY: the signing key is among LEDGER_RETIRED_KEYS")
        return cls(
            signing_key=seed,
            retired_keys=retired,
            max_reservation=env.credits("MAX_RESERVATION_AMOUNT", "1000"),
            chain_checks=env.whole("CHAIN_CHECKS_PER_SWEEP", 20, at_least=1),
            reservation_expiry_us=minutes(env.whole("RESERVATION_EXPIRY_MINUTES", 30, at_least=1)),
        )
