"""Odd clients: what they send is answered in one of our shapes, never with a 500; what is refused writes nothing."""

import json
from dataclasses import replace

from app.api.auth import Principal
from app.chat.store import conversation_path
from app.kit.ids import derived
from app.ports import Identity
from simulation.edge import HttpRequest
from simulation.people.door import CALL, Door
from simulation.people.questions import UNUSABLE, drawn
from simulation.workload import Known
from simulation.world import World


class OddClient:
    """Asks odd questions as a user `odd`, as a clerk who is an administrator, as nobody, and as users who cannot be."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._kernel, self._known = world, world.kernel, known
        self._door = Door(world, "odd")
        self._auth = world.outside.tokens
        who = Identity("odd", "google.com", "google-odd", "odd@gmail.com", True, self._kernel.now_us)
        world.outside.people.known["odd"] = who
        self._tokens = {"odd": self._auth.issue(Principal("odd"))}
        self._tokens["clerk"] = self._auth.issue(Principal("clerk", "admin"))
        self._conversation: str | None = None
        self.found = self._door.found

    def live(self) -> None:
        """Some questions. The account is opened first, so that nothing is left to write."""
        random = self._kernel.random
        while True:
            heard = self._door.ask(HttpRequest("GET", "/v1/credits/balance", self._tokens["odd"]))
            if heard is not None and heard.status == 200:
                break
            self._kernel.sleep(5_000_000)
        begun = self._door.ask(HttpRequest("POST", "/v1/chat/conversations", self._tokens["odd"], b"{}"))
        if begun is not None and begun.status == 201:
            self._conversation = str(begun.fields["id"])
        if random.random() < 0.5:
            self._world.comes_online(random.choice(UNUSABLE))
        for _ in range(random.randrange(15, 35)):
            self._kernel.sleep(random.randrange(3_000_000))
            self._ask()

    def _ask(self) -> None:
        question = drawn(self._kernel.random, self._conversation)
        request = replace(question.request, token=self._token(question.by))
        if request.method == "POST" and not request.path.startswith(CALL):
            key = f"odd-{self._kernel.now_us}"
            request = replace(request, headers={"Idempotency-Key": key, **(request.headers or {})})
            if self._conversation is not None and request.path.endswith("/messages"):
                request = self._message(request, self._conversation, key)
        heard = self._door.ask(request)
        if heard is not None and (why := question.wrong(heard)):
            asked = f"{request.method} {request.path}?{request.query} {dict(request.headers or {})} {request.body!r}"
            self.found.append(f"{question.by} {asked[:300]} {why}")

    def _message(self, request: HttpRequest, conversation: str, key: str) -> HttpRequest:
        """The request with a text of its own, which the auditor knows."""
        message, text = derived("msg", "odd", conversation, key), f"what is odd, {key}?"
        self._known.conversations[message] = conversation_path("odd", conversation)
        self._known.questions[message] = text
        return replace(request, body=json.dumps({"content": text, "model": "small"}).encode())

    def _token(self, by: str | None) -> str:
        if by is None:
            return ""
        if by not in self._tokens:
            self._tokens[by] = self._auth.issue(Principal(by))
        return self._tokens[by]
