"""How many requests a deployment lets a caller make."""

from typing import Final, NamedTuple

from app.kit.environment import BadSetting, Environment

DEFAULT: Final = "anonymous=300 refused=60 reads=600 writes=240 messages=120"
_NAMES: Final = frozenset(word.partition("=")[0] for word in DEFAULT.split())


class RatesSettings(NamedTuple):
    """`limits`: requests a minute, by the names of `app.api.rates.limits`; what is not named is not limited."""

    limits: tuple[tuple[str, int], ...] = ()

    @classmethod
    def read(cls, env: Environment) -> "RatesSettings":
        """Reads `RATE_LIMITS`, as in `reads=600, messages=120`. Those that it does not name keep their defaults, 0 is
        no limit, and `off` leaves none.

        Raises:
            BadSetting: a name is unknown, or a number is none from 0 to 1,000,000.
        """
        words = env.words("RATE_LIMITS", DEFAULT)
        if words == ("off",):
            return cls()
        found = dict(_pair(word) for word in DEFAULT.split())
        found.update(_pair(word) for word in words)
        return cls(tuple(found.items()))


def _pair(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    if name not in _NAMES or not (number.isascii() and number.isdigit()) or len(number) > 7 or int(number) > 1_000_000:
        names = ", ".join(sorted(_NAMES))
        raise BadSetting(
            f"RATE_LIMITS should be off, or hold requests a minute such as reads=600 ({names}), and holds {word!r}"
        )
    return name, int(number)
