"""What happens in the demo, in order. Every line on the screen comes from an answer or from a push of the backend."""

import threading
from decimal import Decimal

import requests
from rich.markup import escape

from emulators.demo import proof, screen
from emulators.demo.backend import Client, Json, NotRunning, Refused, running_ports
from emulators.demo.listener import Listener
from emulators.demo.screen import Balance, Scene, Screen

_STREAMED = "Server-Sent Events"
_MIRRORED = "callable, text through the Realtime Database"
_SCENES = (
    ("1  streamed over HTTP", "What is double-entry bookkeeping?", _STREAMED),
    ("2  the same conversation", "How does a credit reservation work?", _STREAMED),
    ("3  through a callable", "Summarise our conversation.", _MIRRORED),
)


def main() -> int:
    """Plays the demo; 1 with one sentence when it cannot."""
    out = Screen()
    try:
        _Story(out, Client.sign_up(running_ports())).play()
    except NotRunning as missing:
        out.say(f"[red]{escape(str(missing))}[/red]")
        return 1
    except (requests.RequestException, Refused) as failure:
        out.say(f"[red]The backend did not answer as it should: {escape(str(failure))}[/red]")
        return 1
    return 0


class _Story:
    def __init__(self, out: Screen, client: Client) -> None:
        self._out = out
        self._client = client
        self._listener = Listener(client.live_url)
        self._conversation = ""

    def play(self) -> None:
        self._out.say()
        self._out.say("[bold]Every answer is paid in credits, and every credit can be proved.[/bold]")
        self._welcome()
        for title, question, way in _SCENES:
            self._ask(Scene(title, question, way))
        self._ledger()
        self._overspend()

    def _welcome(self) -> None:
        opened = self._client.get("credits/balance")
        self._conversation = str(self._client.post("chat/conversations", {})["id"])
        self._listener.wait_for(lambda: bool(self._listener.balance))
        self._out.say(
            f"[dim]Signed up {self._client.email} with Firebase Auth; the first touch opened an account with "
            f"{opened['balance']} credits of welcome bonus. A listener is attached to /users/{self._client.uid}.[/dim]"
        )
        self._out.say()

    def _ask(self, scene: Scene) -> None:
        with self._out.scene(scene, self._balance) as self._listener.on_push:
            end = self._streamed(scene) if scene.way == _STREAMED else self._mirrored(scene)
            available = str(end["available"])
            pushed = self._listener.wait_for(lambda: self._listener.balance.get("available") == available)
            late = "" if pushed else " · [red]the live balance lags behind[/red]"
            scene.receipt = (
                f"[dim]first text {scene.first_text_s:.2f} s · {end['usage']['output_tokens']} tokens written · "
                f"[/dim][bold]{end['cost']} credits[/bold][dim] · {str(end['transaction_id'])[:12]}…[/dim]{late}"
            )
            scene.over = True

    def _streamed(self, scene: Scene) -> Json:
        path = f"chat/conversations/{self._conversation}/messages"
        end: Json = {}
        for name, data in self._client.stream(path, {"content": scene.question}):
            if name == "delta":
                scene.grow(scene.answer + data["text"])
            elif name == "usage":
                end["usage"] = data
            elif name == "done":
                end |= data
            elif name == "error":
                raise Refused(data)
        return end

    def _mirrored(self, scene: Scene) -> Json:
        """The callable returns once, at the end; what is shown meanwhile was pushed to the listener."""
        before = self._listener.message_ids()
        found: list[Json] = []
        failed: list[Refused] = []

        def call() -> None:
            try:
                message = {"conversation_id": self._conversation, "content": scene.question}
                found.append(self._client.call("send_message", message))
            except Refused as refused:
                failed.append(refused)

        calling = threading.Thread(target=call)
        calling.start()
        while calling.is_alive():
            for message_id in self._listener.message_ids() - before:
                scene.grow(self._listener.text(message_id))
            calling.join(0.03)
        if failed:
            raise failed[0]
        message_id = str(found[0]["message_id"])
        self._listener.wait_for(lambda: self._listener.text(message_id) == found[0]["answer"])
        scene.grow(self._listener.text(message_id))
        return found[0]

    def _balance(self) -> Balance:
        known = self._listener.balance
        if not known:
            return Balance()
        return Balance(
            available=known["available"],
            reserved=known["reserved"],
            posted=known["balance"],
            sequence=str(known["sequence"]),
            pushes=self._listener.pushes,
        )

    def _ledger(self) -> None:
        """Each entry as the server verifies it, and as this program does by itself from the public key."""
        entries: list[Json] = []
        rows: list[list[str]] = []
        history = self._client.get("credits/history?limit=100")["items"]
        for line in reversed(history):
            verified = self._client.get(f"credits/verify/{line['id']}")
            wrong = proof.problems(verified["entry"], verified["public_key"], entries[-1] if entries else None)
            entries.append(verified["entry"])
            rows.append([*_row(line), _mark(verified["valid"]), _mark(not wrong)])
        columns = [
            ("#", True),
            ("entry", False),
            ("amount", True),
            ("balance", True),
            ("hash ← previous", False),
            ("server", False),
            ("ours", False),
        ]
        self._out.show(screen.table("The ledger, entry by entry", columns, rows))
        self._out.say(
            "[dim]server: GET /v1/credits/verify/{id}. ours: SHA-256, Ed25519, postings and link, recomputed by this "
            "program from the public key.[/dim]"
        )
        chain = self._client.get("credits/validate-chain")
        total = sum(Decimal(line["amount"]) for line in history)
        self._out.say(
            f"{_mark(chain['valid'] and total == Decimal(chain['balance']))} the chain is whole: "
            f"{len(history)} entries sum to {total:f}, and the balance is {chain['balance']}"
        )
        forged = {**entries[-1], "amount": entries[-1]["amount"] + 1}
        wrong = proof.problems(forged, verified["public_key"], entries[-2])
        self._out.say(
            f"{_mark(bool(wrong))} a copy of the last entry with one micro-credit changed is found out by its "
            f"{' and '.join(wrong)}"
        )
        self._out.say()

    def _overspend(self) -> None:
        available = Decimal(self._client.get("credits/balance")["available"])
        amount = f"{available + Decimal('0.000001'):f}"
        try:
            self._client.post("credits/reserve", {"amount": amount, "purpose": "one micro-credit too much"})
        except Refused as refused:
            problem = refused.problem
            after = self._client.get("credits/balance")
            self._out.show(
                screen.boxed(
                    f"{problem['status']} {problem['code']}: {escape(str(problem['detail']))}.\n"
                    f"[dim]Short of {problem['shortfall']}. Reserved now: {after['reserved']}. "
                    f"More credits: {problem['payment_options']['href']}[/dim]",
                    f"Asking for {amount} credits",
                    "yellow",
                )
            )
        else:
            self._out.say("[red]The backend let us overspend. That is a bug.[/red]")
        self._out.say()


def _row(line: Json) -> list[str]:
    amount = str(line["amount"])
    sign = "" if amount.startswith("-") else "+"
    return [
        str(line["sequence"]),
        str(line["kind"]),
        f"{sign}{amount}",
        str(line["balance_after"]),
        f"{line['hash'][:6]} ← {line['prev_hash'][:6]}",
    ]


def _mark(good: bool) -> str:
    return "[green]✓[/green]" if good else "[red]✗ broken[/red]"
