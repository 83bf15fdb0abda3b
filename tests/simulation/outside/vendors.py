"""The world outside: a payment rail, a mailer and a plain machine, each with a memory of what is true.

Their answers are late, repeated or lost, also after the effect has happened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from app.kit.errors import Rejection, Unavailable
from simulation.machine.kernel import Kernel


class Refused(Rejection):
    """The vendor refuses for good."""

    code = "vendor_refused"


@dataclass
class Invoice:
    """An invoice at the payment rail. `told`: a webhook about its payment was accepted."""

    id: str
    saga: str
    amount: int
    state: Literal["open", "captured", "void"] = "open"
    refunded: int = 0
    told: bool = False


@dataclass
class Rail:
    """Opens invoices, takes payments, repeats webhooks until one is accepted, and refunds once per key."""

    kernel: Kernel
    webhook: Callable[[str, str], bool] = lambda _, __: False
    """Delivers (event id, invoice id) and returns whether it was accepted."""
    invoices: dict[str, Invoice] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def open(self, key: str, saga: str, amount: int) -> str:
        """Opens an invoice, one for each key."""
        self._call("rail open")
        if key not in self.keys:
            identity = f"inv_{len(self.invoices)}"
            self.keys[key] = identity
            self.invoices[identity] = Invoice(identity, saga, amount)
            if self.kernel.chance(0.2):
                # Some customers pay before the backend has received the answer.
                self.kernel.after(500, lambda: self.pay(identity))
        self._answer()
        return self.keys[key]

    def find(self, key: str) -> Invoice | None:
        """The invoice that was opened with this key, if any."""
        self._call("rail find")
        identity = self.keys.get(key)
        return self.invoices[identity] if identity else None

    def pay(self, identity: str) -> None:
        """The customer pays, if the invoice is open."""
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
        """Voids the invoice.

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
        """Refunds the whole invoice, once per key."""
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
    """Sends one mail for each key, and records what about."""

    kernel: Kernel
    sent: dict[str, str] = field(default_factory=dict)

    def send(self, key: str, about: str) -> None:
        """Sends a mail, unless one was sent for this key."""
        self.kernel.pause("mail")
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the mailer does not answer")
        self.sent.setdefault(key, about)
        self.kernel.pause("mailed")
        if self.kernel.chance(self.kernel.faults.vendor / 2):
            raise Unavailable("the mailer's answer was lost")


@dataclass
class Machine:
    """A vendor that does long or short pieces of work."""

    kernel: Kernel
    busy: int = 0
    most: int = 0
    """Most long pieces of work at the same time."""

    def ponder(self, most_s: int = 20) -> None:
        """Works for a random time, and cannot fail."""
        self.kernel.sleep(self.kernel.random.randrange(1_000_000, most_s * 1_000_000))
        self.kernel.pause("pondered")

    def work(self, *, minutes: int = 0, renew: Callable[[], None] = lambda: None) -> None:
        """One piece of work; a long one calls `renew` every minute.

        Raises:
            Refused: the vendor does not do this kind of work.
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
        self.kernel.pause("machine done")
