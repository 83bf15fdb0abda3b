"""The world outside: a payment rail, a mailer and a plain machine, each with a memory of what is true.

They answer late, twice, not at all, or after the deed. What they remember is what the auditor believes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.kit.errors import Rejection, Unavailable
from simulation.kernel import Kernel


class Refused(Rejection):
    """The vendor says no, for good."""

    code = "vendor_refused"


@dataclass
class Invoice:
    """At the payment rail."""

    id: str
    saga: str
    amount: int
    state: Literal["open", "captured", "void"] = "open"
    refunded: int = 0
    told: bool = False


@dataclass
class Rail:
    """Opens invoices, takes money, tells of it by webhooks until somebody listens, gives money back once per key."""

    kernel: Kernel
    webhook: Callable[[str, str], bool] = lambda _, __: False
    """Delivers (event id, invoice id); whether it was taken."""
    invoices: dict[str, Invoice] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def open(self, key: str, saga: str, amount: int) -> str:
        """An invoice; the same one for the same key."""
        self._call("rail open")
        if key not in self.keys:
            identity = f"inv_{len(self.invoices)}"
            self.keys[key] = identity
            self.invoices[identity] = Invoice(identity, saga, amount)
            if self.kernel.chance(0.2):
                # Some pay at once, before we know ourselves that there is an invoice.
                self.kernel.after(500, lambda: self.pay(identity))
        self._answer()
        return self.keys[key]

    def find(self, key: str) -> Invoice | None:
        """What a key made."""
        self._call("rail find")
        identity = self.keys.get(key)
        return self.invoices[identity] if identity else None

    def pay(self, identity: str) -> None:
        """The customer's side."""
        invoice = self.invoices[identity]
        if invoice.state != "open":
            return
        invoice.state = "captured"
        self.kernel.note(f"PAID {identity}")
        event = f"evt_{identity}"
        for _ in range(1 + (self.kernel.random.randrange(3) if self.kernel.chance(0.3) else 0)):
            self._send(event, identity, 0)

    def _send(self, event: str, identity: str, attempt: int) -> None:
        delay = self.kernel.random.randrange(100_000, 5_000_000) << min(attempt, 8)
        if attempt == 0 and self.kernel.chance(0.5):
            delay = self.kernel.random.randrange(500, 20_000)
        if self.kernel.chance(0.1):
            delay += self.kernel.random.randrange(1_500_000_000)

        def deliver() -> None:
            if self.webhook(event, identity):
                self.invoices[identity].told = True
            else:
                self._send(event, identity, attempt + 1)

        self.kernel.after(delay, lambda: self.kernel.start(f"webhook {identity}", deliver))

    def close(self, identity: str) -> None:
        """Nothing more is taken on it.

        Raises:
            Refused: it has been paid.
        """
        self._call("rail close")
        invoice = self.invoices[identity]
        if invoice.state == "captured":
            raise Refused("it has been paid")
        invoice.state = "void"
        self._answer()

    def refund(self, key: str, identity: str) -> None:
        """All of it back; the same key once."""
        self._call("rail refund")
        if key not in self.keys:
            self.keys[key] = identity
            self.invoices[identity].refunded += self.invoices[identity].amount
        self._answer()

    def _call(self, label: str) -> None:
        self.kernel.pause(label)
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the rail does not answer")

    def _answer(self) -> None:
        self.kernel.pause("rail answers")
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the rail's answer was lost")


@dataclass
class Mailer:
    """Sends one mail for each key, and remembers what for."""

    kernel: Kernel
    sent: dict[str, str] = field(default_factory=dict)

    def send(self, key: str, about: str) -> None:
        """A mail."""
        self.kernel.pause("mail")
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the mailer does not answer")
        self.sent.setdefault(key, about)
        self.kernel.pause("mailed")
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the mailer's answer was lost")


@dataclass
class Machine:
    """Draws, thinks, computes: work per key, and how often each key was really worked on."""

    kernel: Kernel
    made: dict[str, int] = field(default_factory=dict)
    busy: int = 0
    most: int = 0
    """Long works at the same time, at most."""

    def ponder(self, most_s: int = 20) -> None:
        """Some time of work that cannot fail."""
        self.kernel.sleep(self.kernel.random.randrange(1_000_000, most_s * 1_000_000))
        self.kernel.pause("pondered")

    def work(self, key: str, *, minutes: int = 0, renew: Callable[[], None] = lambda: None) -> Mapping[str, str]:
        """One piece of work; a long one keeps its lease.

        Raises:
            Refused: the vendor does not do such things.
        """
        self.kernel.pause("machine asked")
        if self.kernel.chance(self.kernel.faults.vendor / 3):
            raise Refused("not such things")
        if self.kernel.chance(self.kernel.faults.vendor):
            raise Unavailable("the machine does not answer")
        self.busy += bool(minutes)
        self.most = max(self.most, self.busy)
        try:
            for _ in range(minutes):
                self.kernel.sleep(60_000_000)
                if self.kernel.chance(self.kernel.faults.stall * 20):
                    self.kernel.sleep(self.kernel.random.randrange(500_000_000))
                self.kernel.pause("machine works")
                renew()
        finally:
            self.busy -= bool(minutes)
        self.made[key] = self.made.get(key, 0) + 1
        self.kernel.pause("machine done")
        return {"made": key}
