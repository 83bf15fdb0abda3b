"""People who ask what others do not: long white space, every script, more than a model seems to hold; for little money.

Their questions and what they really count are recorded (`simulation.outside.tokenizer`), so that what is reserved, sent
and charged for them can be compared with it.
"""

from typing import Final

from app.kit.errors import Failure
from simulation.outside import tokenizer
from simulation.outside.book import BOOK
from simulation.outside.model_vendor import BREAKS
from simulation.people.wish import Wish
from simulation.workload import User

_LIMITS: Final = (1_500, 4_000, 20_000, 60_000)
_CHAINS: Final = ("thrifty", "small", "grok")
_OTHERS: Final = ("large", "reasoning", "seek", "thrifty", None)
_USUAL: Final = tuple(sorted(tokenizer.SAMPLES.keys() - {"long", "grows", "spaces"}))


class Questioner(User):
    """A user with one more device, who sends a few messages and does nothing else."""

    def ask(self, messages: int) -> None:
        """Sends so many messages, with pauses of up to 90 seconds."""
        self._world.comes_online(self.uid)
        for _ in range(messages):
            self._kernel.sleep(self._kernel.random.randrange(90_000_000))
            self._message()

    def _wish(self, key: str) -> Wish:
        random = self._kernel.random
        kind = random.randrange(10)
        if kind == 0:
            return Wish(tokenizer.question("long", f"what is new, {key}?"), "small")
        if kind <= 2:
            return Wish(tokenizer.question("spaces", f"what is new, {key}?"), random.choice(_OTHERS))
        if kind <= 4:
            return Wish(tokenizer.question("grows", f"what is new, {key}?"), random.choice(_OTHERS[:3]))
        sample = tokenizer.question(random.choice(_USUAL), f"what is new, {key}?")
        if kind <= 7:
            model = random.choice(_CHAINS)
            # Whoever answers in the place of a model that breaks must be paid as well.
            sample = f"{sample} {BREAKS}{model}" if self._kernel.chance(0.5) else sample
            return Wish(sample, model, random.choice(_LIMITS))
        return Wish(sample, random.choice(_OTHERS))

    def _when_to_come_back(self, message: str) -> int:
        return self._kernel.random.randrange(60_000_000)

    def _name(self, kind: str) -> str:
        return super()._name(f"odd_{kind}")

    def _refused(self, wish: Wish, failure: Failure) -> None:
        """A question that a model has room for is not too long, whatever its bytes (T-117)."""
        code = getattr(failure, "code", "")
        room = BOOK[wish.model or "small"].context_tokens - 16
        asked = any(one.question == wish.content for one in self._world.outside.models.answers)
        if code == "prompt_too_long" and not asked and tokenizer.prompt([wish.content]) < room:
            self._known.bugs.append(f"a question of {tokenizer.prompt([wish.content])} tokens was too long")
