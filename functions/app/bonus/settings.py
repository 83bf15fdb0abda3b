"""How large the welcome bonus is, and when which part of it is given. Amounts are micro-credits."""

from typing import NamedTuple

from app.kit.clock import minutes
from app.kit.environment import BadSetting, Environment
from app.kit.money import credits


class BonusSettings(NamedTuple):
    """`on_verified` and `on_purchase` are parts of `amount`; the rest is given when the account opens.

    Without `checks` every account gets all of it when it opens.
    """

    amount: int = credits(1000)
    on_verified: int = 0
    on_purchase: int = 0
    checks: bool = True
    min_age_us: int = 0
    """How long a user must exist before the bonus is given."""
    per_crowd_daily: int = 20
    """Accounts a day behind one relay (a CDN), one IPv6 site, or no known address."""

    @property
    def at_opening(self) -> int:
        """The part that waits for nothing."""
        return self.amount - self.on_verified - self.on_purchase

    @classmethod
    def read(cls, env: Environment) -> "BonusSettings":
        """Raises `BadSetting`."""
        read = cls(
            amount=env.credits("WELCOME_BONUS_AMOUNT", "1000"),
            on_verified=env.credits("WELCOME_BONUS_ON_VERIFIED", "0"),
            on_purchase=env.credits("WELCOME_BONUS_ON_PURCHASE", "0"),
            checks=env.switch("WELCOME_BONUS_CHECKS", "on"),
            min_age_us=minutes(env.whole("WELCOME_BONUS_MIN_AGE_MINUTES", 0, at_least=0)),
            per_crowd_daily=env.whole("WELCOME_BONUS_PER_CROWD_DAILY", 20, at_least=1),
        )
        if read.at_opening < 0:
            raise BadSetting("WELCOME_BONUS_ON_VERIFIED and _ON_PURCHASE together are more than WELCOME_BONUS_AMOUNT")
        return read
