"""One person with a long conversation: large messages among small ones, a blank one, and a turn of an older version.

They ask what each message costs before they send it, and are told what is set aside for it. What the vendor must be
sent of their conversation stands in `simulation.audit.windows`.
"""

from dataclasses import dataclass
from typing import Final

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.kit.ids import derived
from app.kit.money import from_decimal
from app.kit.stores.documents import Replace, Value, int_field, list_field
from app.metering.billing import Mode
from app.ports import Identity
from simulation.devices import Http, Reading
from simulation.instance import Backend
from simulation.workload import Known
from simulation.world import World

SECOND: Final = 1_000_000
_LARGE: Final = (30_000, 40_000, 45_000)
"""Bytes of a large message: three of them are more than a window holds."""
_WORD: Final = "w" * 999 + " "
_BLANKS: Final = " \n\t"


@dataclass(frozen=True)
class Offer:
    """What was answered to the question what a message needs and costs at most, in micro-credits."""

    message: str
    needed: int
    ceiling: int


class Caller(Http):
    """An `Http` device that asks for prices."""

    def price(self, backend: Backend, ask: Ask) -> tuple[int, int]:
        """What the message needs, and its ceiling."""
        operation = {"conversation_id": ask.conversation_id, "content": ask.content, "model": ask.model}
        told = self._told(self._ask(backend, "POST", "/v1/credits/check-insufficient", {"operation": operation})).fields
        return from_decimal(str(told["required"])), from_decimal(str(told["ceiling"]))


class Talker:
    """Lives in some seeds."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._kernel = world.kernel
        self.uid = "talker"
        self._phone = Caller(self._kernel, self.uid, world.outside.tokens.issue(Principal(self.uid)), known.keyed)
        self.offers: list[Offer] = []
        self._reserved: dict[str, int] = {}

    def comes(self) -> None:
        """In the first minutes."""
        if self._kernel.chance(0.15):
            mail = f"{self.uid}@third.example"
            self._world.outside.people.known[self.uid] = Identity(self.uid, "google.com", "google-t", mail, True, 0)
            delay_us = self._kernel.random.randrange(5, 200) * SECOND
            self._kernel.after(delay_us, lambda: self._kernel.start(self.uid, self._live))

    def verdict(self) -> list[str]:
        """What is set aside for a message is what was said before, or what its owner still has of it."""
        found = []
        for offer in self.offers:
            reserved = self._reserved.get(offer.message)
            if reserved is not None and not offer.needed <= reserved <= offer.ceiling:
                found.append(f"{offer.message} reserved {reserved}, said was {offer.needed} to {offer.ceiling}")
        return found

    def _live(self) -> None:
        self._world.comes_online(self.uid)
        self._kernel.sleep(5 * SECOND)
        conversation = self._world.request("talker begins", self._phone.begin)
        if not isinstance(conversation, str):
            return
        for number, content in enumerate(self._texts()):
            self._say(conversation, content, number)
            self._kernel.sleep(SECOND)

    def _texts(self) -> list[str]:
        """What they say, in order."""
        random = self._kernel.random
        small = [f"small talk, {number} of {self.uid}" for number in range(random.choice((6, 8, 26)))]
        if len(small) > 8:
            return small
        large = [f"read this, {size} of {self.uid}: " + _WORD * (size // len(_WORD)) for size in _LARGE]
        blank = "".join(random.choice(_BLANKS) for _ in range(30))
        return [*small[:3], *large, blank, *small[3:]]

    def _say(self, conversation: str, content: str, number: int) -> None:
        key = f"said-{number}"
        model = self._kernel.random.choice(("small", "small", "large"))
        ask = Ask(self.uid, conversation, content, model=model, key=key)
        message = derived("msg", self.uid, conversation, key)
        self._known.conversations[message] = conversation_path(self.uid, conversation)
        self._known.questions[message] = content
        if number == 4 and self._kernel.chance(0.9):
            self._put_blank(conversation)
        priced = self._world.request("talker asks the price", lambda b: self._phone.price(b, ask))
        if isinstance(priced, tuple):
            self.offers.append(Offer(message, *priced))
        self._world.request("talker says", lambda b: self._phone.answer(b, ask, Mode.STREAM, self._reading()))

    def _put_blank(self, conversation: str) -> None:
        """An earlier version kept blank turns, and the window still has one."""
        path = conversation_path(self.uid, conversation)
        stored = self._world.documents.real.get(path)
        if stored is None:
            return
        old: Value = {"message_id": "msg-old", "question": "Well?", "answer": " \n"}
        fields = {**stored.fields, "window": [*list_field(stored.fields, "window"), old]}
        self._world.documents.real.commit([Replace(path, fields, stored.version)])

    def _reading(self) -> Reading:
        def over(identity: str, state: str, cost: int, whole: str) -> None:
            if state == "done":
                self._known.answers.setdefault(identity, set()).add(cost)
                self._known.whole.setdefault(identity, set()).add(whole)
            turn = self._world.documents.real.get(f"{self._known.conversations[identity]}/messages/{identity}")
            if turn is not None:
                self._reserved[identity] = int_field(turn.fields, "ceiling")

        return Reading(lambda _: False, over)
