"""Users who chat, buy, cancel and refund at the same time, and what each was told, for the auditor to compare."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from app.api.auth import Principal
from app.chat.opening import Ask
from app.chat.store import conversation_path
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.clock import from_rfc3339, minutes
from app.kit.errors import Failure, InvariantViolation, Unavailable
from app.kit.ids import derived
from app.kit.stores.documents import text_field
from app.metering.billing import Mode
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.saga import ENDED, SagaState, SagaStatus
from app.orchestration.sagas.sagas import SagaStart
from simulation.devices import Direct, Reading, Told, device
from simulation.instance import Backend
from simulation.liars import Liar, lies
from simulation.machine.kernel import START_US
from simulation.people.wish import Wish
from simulation.products import IMAGE_PRICE
from simulation.world import World

PRICES = (10_000_000, 24_000_000)
_SWEEP_US = 60_000_000
_LIMITS = (1_000, 5_000, 20_000, 200_000)
"""Of what an answer may cost."""
_LEFT = (2_000, 8_000, 15_000, 60_000, 400_000, 3_000_000)
"""Of the credits of somebody who is nearly out of them."""
OLD = "cnv-old"
"""A conversation that the first user has had for long, in some seeds."""


@dataclass
class Known:
    """What clients know for certain from the backend's answers."""

    orders: dict[str, str] = field(default_factory=dict)
    """Operation ids that were accepted, and their order's name."""
    sagas: dict[str, str] = field(default_factory=dict)
    """Sagas that were accepted, and their account."""
    answers: dict[str, set[int]] = field(default_factory=dict)
    """Messages whose end a client has seen, and their cost; of each attempt, where a first one was replaced."""
    texts: set[str] = field(default_factory=set)
    """Messages of which a client has seen text."""
    whole: dict[str, set[str]] = field(default_factory=dict)
    """Messages whose end a client has seen, and the text that came before it."""
    questions: dict[str, str] = field(default_factory=dict)
    """Messages that were sent, and what they say; no two say the same."""
    limits: dict[str, int] = field(default_factory=dict)
    """Messages that were sent with a limit of their own, in micro-credits."""
    without: dict[str, frozenset[str]] = field(default_factory=dict)
    """Messages that no model of these providers may answer, not even where another one fails."""
    held: dict[str, list[int]] = field(default_factory=dict)
    """What accounts held for the answers to messages, in micro-credits, one after another."""
    left: dict[str, int] = field(default_factory=dict)
    """Messages whose reader hung up, and when."""
    keyed: dict[str, list[Told]] = field(default_factory=dict)
    """By idempotency key, what was answered over HTTP."""
    conversations: dict[str, str] = field(default_factory=dict)
    """Messages that were sent, and the path of their conversation."""
    deletions: dict[str, bool] = field(default_factory=dict)
    """Paths of conversations whose deletion was requested, and whether it was accepted."""
    bugs: list[str] = field(default_factory=list)


def _enqueue(order: Order, backend: Backend) -> str:
    return backend.orchestration.queue.enqueue(order)


class User:
    """One person with one or two devices."""

    def __init__(self, world: World, known: Known, uid: str) -> None:
        self._world = world
        self._kernel = world.kernel
        self._known = known
        self.uid = uid
        self._who = Principal(uid)
        self._token = world.outside.tokens.issue(self._who)
        self._count = 0
        self._conversation: str | None = None
        self._lies = self._kernel.chance(0.2)

    def live(self, actions: int) -> None:
        """Does `actions` random things, with pauses of up to 90 seconds."""
        self._world.comes_online(self.uid)
        doings: list[Callable[[], None]] = [
            self._chat,
            self._chat,
            self._chat,
            self._buy,
            self._refund,
            self._refund,
            self._image,
            self._agent,
            self._orders,
            self._errands,
            self._errands,
            self._hold,
            self._hold,
            self._tidy,
            self._claim,
            self._look,
        ]
        if self._lies:
            doings += [self._lie, self._lie]
        if self._kernel.chance(0.15):
            self._set_aside()
        for _ in range(actions):
            self._kernel.sleep(self._kernel.random.randrange(90_000_000))
            self._kernel.random.choice(doings)()

    def _ask(self, label: str, body: Callable[[Backend], object]) -> object:
        outcome = self._world.request(f"{self.uid} {label}", body)
        if isinstance(outcome, InvariantViolation):
            self._known.bugs.append(f"{self.uid} {label}: {outcome}")
        return outcome

    def _device(self) -> Direct:
        """Whatever is at hand: most devices speak HTTP."""
        kind = self._kernel.random.choice(("http", "http", "callables", "direct"))
        return device(kind, self._kernel, self._who, self._token, self._known.keyed)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self.uid}_{self._count}_{self._kernel.random.randrange(1000)}"

    def _chat(self) -> None:
        """Some messages, one after another."""
        for _ in range(self._kernel.random.randrange(1, 4)):
            self._message()

    def _message(self) -> None:
        if self._conversation is None:
            self._conversation = self._begun()
        if self._conversation is None:
            return
        conversation, key = self._conversation, self._name("key")
        wish = self._wish(key)
        ask = Ask(self.uid, conversation, wish.content, model=wish.model, key=key, max_cost=wish.limit)
        message = derived("msg", self.uid, conversation, key)
        if wish.limit is not None:
            self._known.limits[message] = wish.limit
        self._known.conversations[message] = conversation_path(self.uid, conversation)
        self._known.questions[message] = ask.content
        mode = self._kernel.random.choice([Mode.JSON, Mode.STREAM])
        leaves = mode is Mode.STREAM and self._kernel.chance(0.25)
        hang_up = self._kernel.random.choice((0, 0, 1, 2, 3, 5)) if leaves else None
        if self._kernel.chance(0.15):
            self._kernel.after(self._kernel.random.choice((20_000, 2_000_000)), lambda: self._cancel(message))
        if self._kernel.chance(0.1):
            self._kernel.after(self._kernel.random.randrange(1_000_000), self._changes_mind)
        if self._kernel.chance(0.15):
            self._kernel.spawn(f"{self.uid} twice", lambda: self._again(ask, mode, message))
        for _ in range(self._kernel.random.choice((1, 3))):
            outcome = self._answer(ask, mode, hang_up, message)
            if not isinstance(outcome, Failure):
                return
            self._refused(wish, outcome)
            self._kernel.sleep(self._when_to_come_back(message))

    def _wish(self, key: str) -> Wish:
        """What the next message is; `key` stands in it, so that no two say the same."""
        model = self._kernel.random.choice((None, "small", "large", "reasoning"))
        limit = self._kernel.random.choice(_LIMITS) if self._kernel.chance(0.2) else None
        return Wish(f"what is new, {key}?", model, limit)

    def _refused(self, wish: Wish, failure: Failure) -> None:
        """What this person thinks of a refusal."""

    def _when_to_come_back(self, message: str) -> int:
        """Some time later; or just when the sweep looks for the turn that was left behind."""
        turn = self._world.documents.real.get(f"{self._known.conversations[message]}/messages/{message}")
        if turn is None or turn.fields["state"] != "running" or self._kernel.chance(0.4):
            return self._kernel.random.randrange(400_000_000)
        over_us = from_rfc3339(text_field(turn.fields, "lease_until")) - START_US
        swept_us = START_US + (over_us // _SWEEP_US + 1) * _SWEEP_US
        return max(0, swept_us + self._kernel.random.randrange(400_000) - self._kernel.now_us)

    def _answer(self, ask: Ask, mode: Mode, hang_up: int | None, message: str) -> object:
        pieces, seen = 0, ""
        hand, vendor = self._device(), self._world.outside.models

        def text(said: str) -> bool:
            nonlocal pieces, seen
            pieces, seen = pieces + 1, seen + said
            self._known.texts.add(message)
            # Who leaves at no certain piece leaves behind the last word.
            leaves = hang_up is not None and (pieces >= hang_up if hang_up else vendor.last_word(seen))
            if leaves:
                self._known.left.setdefault(message, self._kernel.now_us)
            return leaves

        def over(identity: str, state: str, cost: int, whole: str) -> None:
            if state == "done":
                self._known.answers.setdefault(identity, set()).add(cost)
                self._known.whole.setdefault(identity, set()).add(whole)

        outcome = self._ask("asks", lambda b: hand.answer(b, ask, mode, Reading(text, over)))
        if pieces and isinstance(outcome, Unavailable) and not (self._world.faults.crash or self._world.faults.stall):
            # A store that is away for a moment costs nobody an answer that was already read, or its price.
            self._known.bugs.append(f"turn {message} was read and then failed: {outcome}")
        return outcome

    def _again(self, ask: Ask, mode: Mode, message: str) -> None:
        self._answer(ask, mode, None, message)

    def _both(self, refund: Callable[[Backend], object]) -> None:
        self._ask("refunds", refund)

    def _cancel(self, message: str) -> None:
        def cancel() -> None:
            self._ask("cancels", lambda b: self._device().cancel(b, message))

        self._kernel.spawn(f"{self.uid} cancel", cancel)

    def _tidy(self) -> None:
        """Deletes the conversation, sometimes from two devices, and some empty ones."""
        conversation, self._conversation = self._conversation, None
        doomed = [conversation, *(self._begun() for _ in range(4))]
        path = conversation_path(self.uid, OLD)
        if path not in self._known.deletions and self._world.documents.real.get(path) is not None:
            doomed.append(OLD)
        for one in filter(None, doomed):
            if self._kernel.chance(0.3):
                self._kernel.spawn(f"{self.uid} twice", partial(self._gone, one))
            self._gone(one)

    def _changes_mind(self) -> None:
        """Deletes the conversation while it is being answered."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            self._kernel.spawn(f"{self.uid} deletes", partial(self._gone, conversation))

    def _begun(self) -> str | None:
        made = self._ask("new conversation", lambda b: self._device().begin(b))
        return made if isinstance(made, str) else None

    def _gone(self, conversation: str) -> None:
        path = conversation_path(self.uid, conversation)
        self._known.deletions.setdefault(path, False)
        outcome = self._ask("deletes", lambda b: self._device().delete(b, conversation))
        if not isinstance(outcome, Failure):
            self._known.deletions[path] = True

    def _buy(self) -> None:
        saga = self._name("buy")
        amount = self._kernel.random.choice(PRICES)
        self._begin(SagaStart(saga, "buy", self.uid, {"amount": amount}))
        if self._kernel.chance(0.25):
            # Paid and cancelled at once: whichever comes first, money and credits must agree.
            invoice = self._world.rail.keys.get(f"{saga}:open")
            if invoice is not None:
                self._world.rail.pay(invoice)
            self._give_up(saga)
            return
        if self._kernel.chance(0.8):
            delay = self._kernel.random.randrange(30_000_000)
            if self._kernel.chance(0.3):
                delay = self._kernel.random.randrange(1_100_000_000, 1_300_000_000)
            self._kernel.after(delay, lambda: self._pay(saga, 20))

    def _pay(self, saga: str, tries: int) -> None:
        invoice = self._world.rail.keys.get(f"{saga}:open")
        if invoice is not None:
            self._world.rail.pay(invoice)
        elif tries:
            self._kernel.after(10_000_000, lambda: self._pay(saga, tries - 1))

    def _refund(self) -> None:
        """Refunds every purchase that has succeeded by now."""
        mine = [saga for saga, uid in self._known.sagas.items() if uid == self.uid and saga.startswith("buy")]

        def refund(backend: Backend) -> object:
            for payment in mine:
                bought = backend.orchestration.sagas.get(payment)
                if bought.status is SagaStatus.SUCCEEDED:
                    given = {"payment": payment, "amount": bought.input["amount"]}
                    backend.orchestration.sagas.start(SagaStart(f"refund_{payment}", "refund", self.uid, given))
                    self._known.sagas[f"refund_{payment}"] = self.uid
            return None

        if self._kernel.chance(0.3):
            self._kernel.spawn(f"{self.uid} twice", lambda: self._both(refund))
        self._ask("refunds", refund)

    def _image(self) -> None:
        saga = self._name("image")
        self._begin(SagaStart(saga, "image", self.uid, {}))
        if self._kernel.chance(0.25):
            self._kernel.sleep(self._kernel.random.randrange(400_000_000))
            self._give_up(saga)

    def _give_up(self, saga: str) -> None:
        """Cancels a saga. The answer must show a failed saga, or an ended one."""
        found = self._ask("gives up", lambda b: b.orchestration.sagas.cancel(saga, "changed my mind"))
        if isinstance(found, SagaState) and found.status not in ENDED and found.failure is None:
            self._known.bugs.append(f"saga {saga} was cancelled and goes on")

    def _agent(self) -> None:
        self._begin(SagaStart(self._name("agent"), "agent", self.uid, {}))

    def _begin(self, start: SagaStart) -> None:
        for _ in range(1 + self._kernel.chance(0.2)):
            outcome = self._ask(f"begins {start.name}", lambda b: b.orchestration.sagas.start(start))
            if not isinstance(outcome, Failure):
                self._known.sagas[start.id] = self.uid

    def _orders(self) -> None:
        """Orders plain operations: some ordered by key, some due later, some long, in every priority."""
        random = self._kernel.random
        for position in range(random.randrange(1, 5)):
            name = random.choice(["count", "count.ordered", "count.ordered", "long", "dull", "dull"])
            once = self._name("order")
            order = Order(
                name,
                payload={"order": once},
                account=self.uid,
                key=self.uid if name == "count.ordered" else None,
                once=once,
                position=None,
                priority=random.choice([*Priority]),
                due_us=self._kernel.now_us + random.randrange(60_000_000) if position == 1 else None,
            )
            self._order(order)

    def _errands(self) -> None:
        """Orders long operations with one key, some of them positioned before one that waits or runs already."""
        for _ in range(4):
            once = self._name("order")
            position = 64 * (self._kernel.now_us - self._kernel.random.randrange(60_000_000))
            self._order(Order("errand", {"order": once}, account=self.uid, key=self.uid, position=position, once=once))
            self._kernel.sleep(self._kernel.random.randrange(30_000_000))

    def _order(self, order: Order) -> None:
        for _ in range(1 + self._kernel.chance(0.3)):
            outcome = self._ask(f"orders {order.name}", partial(_enqueue, order))
            if isinstance(outcome, str):
                self._known.orders[outcome] = order.name

    def _hold(self) -> None:
        """Reserves credits and sometimes never releases them, as a client of the API may."""
        hand, key = self._device(), self._name("hold")
        copies = 1 + self._kernel.chance(0.3)
        if copies > 1 and self._kernel.chance(0.5):
            self._kernel.spawn(f"{self.uid} twice", partial(self._hold_again, hand, key))
        made = [self._held(hand, key) for _ in range(copies)]
        reservation = next(filter(None, made), None)
        if reservation is not None and self._kernel.chance(0.5):
            for _ in range(1 + self._kernel.chance(0.3)):
                self._ask("lets go", lambda b: hand.let_go(b, f"{key}-back", reservation))

    def _hold_again(self, hand: Direct, key: str) -> None:
        self._held(hand, key)

    def _held(self, hand: Direct, key: str) -> str | None:
        made = self._ask("holds", lambda b: hand.hold(b, key, IMAGE_PRICE))
        return made if isinstance(made, str) else None

    def _set_aside(self) -> None:
        """Reserves nearly all that there is, so that answers are short and dear models are not paid for."""
        self._kernel.sleep(20_000_000)
        left = self._kernel.random.choice(_LEFT)

        def hold(backend: Backend) -> object:
            most = backend.credits.available(backend.credits.account(self.uid)) - left
            if most <= 0:
                return None
            reference = Reference("run", "savings")
            return backend.credits.reserve(self.uid, Reserve("savings", most, 1, "api", reference, minutes(30)))

        self._ask("sets aside", hold)

    def _lie(self) -> None:
        """Tries what only somebody else may do, or nobody."""
        other = "user1" if self.uid == "user0" else "user0"
        theirs = f"users/{other}/conversations/"
        known = {message: path for message, path in self._known.conversations.items() if path.startswith(theirs)}
        tried = lies(other, [path.removeprefix(theirs) for path in known.values()], list(known))
        liar = Liar(self._kernel, self._who, self._token, self._known.keyed)
        for one in self._kernel.random.sample(tried, 3):
            self._ask("lies", liar.lie(one))
        holds = tuple({"amount": str(amount), "purpose": "api", "expires_in": 60} for amount in (1, 2))
        self._ask("lies", liar.repeat(self._name("lie"), "/v1/credits/reserve", (holds[0], holds[1])))

    def _claim(self) -> None:
        """Claims the welcome bonus, which most have and some may not have."""
        hand, key = self._device(), self._name("claim")
        for _ in range(1 + self._kernel.chance(0.3)):
            self._ask("claims", lambda b: hand.claim(b, key))

    def _look(self) -> None:
        hand = self._device()
        self._ask("looks", lambda b: hand.look(b))
