"""Users who chat, buy, cancel and refund at the same time, and what each was told, for the auditor to compare."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from app.chat.answering import Over, Text
from app.chat.opening import Ask
from app.chat.service import ConversationDraft
from app.chat.store import conversation_path
from app.credits.core.commands import Reserve
from app.credits.core.entry import Reference
from app.kit.errors import Failure, InvariantViolation, Unavailable
from app.kit.ids import derived
from app.metering.billing import Mode
from app.orchestration.queue.operation import Priority
from app.orchestration.queue.operation_queue import Order
from app.orchestration.sagas.saga import ENDED, SagaState, SagaStatus
from app.orchestration.sagas.sagas import SagaStart
from simulation.instance import Backend
from simulation.products import IMAGE_PRICE
from simulation.world import World

PRICES = (10_000_000, 24_000_000)


@dataclass
class Told:
    """What clients know for certain from the backend's answers."""

    orders: dict[str, str] = field(default_factory=dict)
    """Operation ids that were accepted, and their order's name."""
    sagas: dict[str, str] = field(default_factory=dict)
    """Sagas that were accepted, and their account."""
    answers: dict[str, set[int]] = field(default_factory=dict)
    """Messages whose end a client has seen, and their cost; of each attempt, where a first one was replaced."""
    texts: set[str] = field(default_factory=set)
    """Messages of which a client has seen text."""
    conversations: dict[str, str] = field(default_factory=dict)
    """Messages that were sent, and the path of their conversation."""
    deletions: dict[str, bool] = field(default_factory=dict)
    """Paths of conversations whose deletion was requested, and whether it was accepted."""
    bugs: list[str] = field(default_factory=list)


def _enqueue(order: Order, backend: Backend) -> str:
    return backend.orchestration.queue.enqueue(order)


class User:
    """One person with one or two devices."""

    def __init__(self, world: World, told: Told, uid: str) -> None:
        self._world = world
        self._kernel = world.kernel
        self._told = told
        self.uid = uid
        self._count = 0
        self._conversation: str | None = None

    def live(self, actions: int) -> None:
        """Does `actions` random things, with pauses of up to 90 seconds."""
        doings: list[Callable[[], None]] = [
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
            self._tidy,
        ]
        for _ in range(actions):
            self._kernel.sleep(self._kernel.random.randrange(90_000_000))
            self._kernel.random.choice(doings)()

    def _ask(self, label: str, body: Callable[[Backend], object]) -> object:
        outcome = self._world.request(f"{self.uid} {label}", body)
        if isinstance(outcome, InvariantViolation):
            self._told.bugs.append(f"{self.uid} {label}: {outcome}")
        return outcome

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self.uid}_{self._count}_{self._kernel.random.randrange(1000)}"

    def _chat(self) -> None:
        if self._conversation is None:
            self._conversation = self._begun()
        if self._conversation is None:
            return
        conversation, key = self._conversation, self._name("key")
        ask = Ask(self.uid, conversation, "what is new?", key=key)
        message = derived("msg", self.uid, conversation, key)
        self._told.conversations[message] = conversation_path(self.uid, conversation)
        mode = self._kernel.random.choice([Mode.JSON, Mode.STREAM])
        hang_up = self._kernel.random.randrange(1, 6) if mode is Mode.STREAM and self._kernel.chance(0.2) else None
        if self._kernel.chance(0.15):
            self._kernel.after(self._kernel.random.randrange(200_000), lambda: self._cancel(message))
        if self._kernel.chance(0.1):
            self._kernel.after(self._kernel.random.randrange(100_000), self._changes_mind)
        if self._kernel.chance(0.15):
            self._kernel.spawn(f"{self.uid} twice", lambda: self._again(ask, mode, message))
        for _ in range(3):
            outcome = self._answer(ask, mode, hang_up, message)
            if not isinstance(outcome, Failure):
                return
            self._kernel.sleep(self._kernel.random.randrange(400_000_000))

    def _answer(self, ask: Ask, mode: Mode, hang_up: int | None, message: str) -> object:
        pieces = 0

        def read(backend: Backend) -> object:
            nonlocal pieces
            answer = backend.chat.chat.answer(ask, mode)
            for event in answer:
                self._kernel.pause("client reads")
                if isinstance(event, Text):
                    pieces += 1
                    self._told.texts.add(message)
                    if hang_up is not None and pieces >= hang_up:
                        answer.close()
                        return None
                if isinstance(event, Over) and event.end.state == "done":
                    self._told.answers.setdefault(event.turn.id, set()).add(event.end.cost)
            return None

        outcome = self._ask("asks", read)
        if pieces and isinstance(outcome, Unavailable) and not (self._world.faults.crash or self._world.faults.stall):
            # A store that is unavailable for a moment must not spoil an answer that was already read.
            self._told.bugs.append(f"turn {message} was read and then failed: {outcome}")
        return outcome

    def _again(self, ask: Ask, mode: Mode, message: str) -> None:
        self._answer(ask, mode, None, message)

    def _both(self, refund: Callable[[Backend], object]) -> None:
        self._ask("refunds", refund)

    def _cancel(self, message: str) -> None:
        def cancel() -> None:
            self._ask("cancels", lambda b: b.chat.chat.cancel(self.uid, message))

        self._kernel.spawn(f"{self.uid} cancel", cancel)

    def _tidy(self) -> None:
        """Deletes the conversation, sometimes from two devices, and some empty ones."""
        conversation, self._conversation = self._conversation, None
        doomed = [conversation, *(self._begun() for _ in range(4))]
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
        made = self._ask("new conversation", lambda b: b.chat.chat.create(self.uid, ConversationDraft()).id)
        return made if isinstance(made, str) else None

    def _gone(self, conversation: str) -> None:
        path = conversation_path(self.uid, conversation)
        self._told.deletions.setdefault(path, False)
        outcome = self._ask("deletes", lambda b: b.chat.chat.delete(self.uid, conversation))
        if not isinstance(outcome, Failure):
            self._told.deletions[path] = True

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
        mine = [saga for saga, uid in self._told.sagas.items() if uid == self.uid and saga.startswith("buy")]

        def refund(backend: Backend) -> object:
            for payment in mine:
                bought = backend.orchestration.sagas.get(payment)
                if bought.status is SagaStatus.SUCCEEDED:
                    given = {"payment": payment, "amount": bought.input["amount"]}
                    backend.orchestration.sagas.start(SagaStart(f"refund_{payment}", "refund", self.uid, given))
                    self._told.sagas[f"refund_{payment}"] = self.uid
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
            self._told.bugs.append(f"saga {saga} was cancelled and goes on")

    def _agent(self) -> None:
        self._begin(SagaStart(self._name("agent"), "agent", self.uid, {}))

    def _begin(self, start: SagaStart) -> None:
        for _ in range(1 + self._kernel.chance(0.2)):
            outcome = self._ask(f"begins {start.name}", lambda b: b.orchestration.sagas.start(start))
            if not isinstance(outcome, Failure):
                self._told.sagas[start.id] = self.uid

    def _orders(self) -> None:
        """Orders plain operations: some ordered by key, some due later, some long, in every priority."""
        random = self._kernel.random
        for position in range(random.randrange(1, 5)):
            name = random.choice(["count", "count", "count.ordered", "count.ordered", "long", "dull"])
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
                self._told.orders[outcome] = order.name

    def _hold(self) -> None:
        """Reserves credits and sometimes never releases them, as a client of the API may."""
        reserve = Reserve(
            id=self._name("hold"),
            ceiling=IMAGE_PRICE,
            at_least=1,
            purpose="api",
            reference=Reference("run", "x"),
            expires_in_us=600_000_000,
        )
        self._ask("holds", lambda b: b.credits.reserve(self.uid, reserve))
        if self._kernel.chance(0.5):
            self._ask("lets go", lambda b: b.credits.release(self.uid, reserve.id, "unused"))
