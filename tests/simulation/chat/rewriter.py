"""Somebody who works on a conversation from two devices: edits, has answers given anew, goes back to earlier branches,
repeats keys, files it, searches it and takes it home; and deletes another one while an answer to it fails.

Instances may die meanwhile. Whoever is not told how a message ended sends it again until they are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final, cast

from app.api.auth import Principal
from app.chat.store import conversation_path
from app.kit.errors import Failure
from app.kit.ids import derived
from app.kit.stores.documents import Create, Fields, Value, Write, int_field
from app.ports import Identity
from simulation.chat.branches import ROOT, Branches, Json, Node
from simulation.chat.desk import FAILED, Desk, Unsaid
from simulation.devices import Refusal
from simulation.outside.model_vendor import BREAKS, VendorAnswer
from simulation.workload import Known
from simulation.world import World

SECOND: Final = 1_000_000
_MODELS: Final = ("small", "thrifty", "reasoning", "large")
_IN_PROGRESS: Final = "idempotency_in_progress"
_HELD: Final = "reservation"
_REUSED: Final = "idempotency_key_reused"
_TRIES: Final = 8
_BEFORE: Final = 24
"""Turns that a conversation has from before in some seeds: as many as a model is told of."""


class Rewriter:
    """Lives in some seeds. `come`: whether in this one."""

    def __init__(self, world: World, known: Known) -> None:
        self._world, self._known = world, known
        self._kernel = world.kernel
        self._dice = Random(f"rewriter {world.kernel.seed}")
        self.come = self._dice.random() < 0.3
        self.uid = "rewriter"
        token = world.outside.tokens.issue(Principal(self.uid))
        self._desks = [Desk(self._kernel, self.uid, token, known.keyed) for _ in range(2)]
        self._branches = Branches()
        self._conversation = ""
        self._sent = 0
        self._places: dict[str, str] = {}
        """By question, the turn that it was sent to."""
        self._asked: list[VendorAnswer] = []
        self._doomed = ""
        self._lost = False
        """Whether something is not known for certain, so that nothing more can be."""
        self.found: list[str] = []

    def comes(self) -> None:
        """In the first minutes."""
        if self.come:
            mail = f"{self.uid}@sixth.example"
            self._world.outside.people.known[self.uid] = Identity(self.uid, "google.com", "google-w", mail, True, 0)
            self._world.outside.models.watchers.append(self._hears)
            self._world.documents.tries.append(self._dooms)
            self._kernel.after(self._dice.randrange(5, 120) * SECOND, lambda: self._kernel.start(self.uid, self._live))

    def _live(self) -> None:
        self._world.comes_online(self.uid)
        self._kernel.sleep(5 * SECOND)
        begun = self._requests("begins", lambda backend: self._desks[0].begin(backend))
        if not isinstance(begun, str):
            return
        self._conversation = begun
        if self._dice.random() < 0.3:
            self._has_talked()
        while not (self._branches.nodes or self._lost):
            self._says(None)
        doings: list[Callable[[], None]] = [
            lambda: self._says(None),
            lambda: self._says(self._dice.choice([ROOT, *self._branches.nodes])),
            self._fails_anew,
            self._anew,
            self._goes_back,
            self._repeats,
        ]
        self._dice.shuffle(doings)
        for doing in [*doings[:5], self._files, self._goes_back]:
            if not self._lost:
                doing()
                self._looks()
        self._deletes()

    def _has_talked(self) -> None:
        """Takes a conversation that has turns from before, which its model is told of."""
        path = conversation_path(self.uid, self._conversation)
        stored = self._world.documents.real.get(path)
        if stored is None:
            return
        before: list[Value] = [
            {"message_id": f"msg-old-{number}", "question": f"What was {number}?", "answer": f"It was {number}."}
            for number in range(_BEFORE)
        ]
        self._conversation = "cnv-before"
        path = conversation_path(self.uid, self._conversation)
        fields = {**stored.fields, "window": before}
        self._world.documents.real.commit([Create(path, fields)])
        for hear in self._world.documents.watchers:
            hear([(path, None, fields)])
        self._branches.unseen = True

    def _says(self, parent: str | None, *, fails: bool = False) -> None:
        """A message behind `parent`, or at the end."""
        self._sent += 1
        model = "large" if fails else self._dice.choice(_MODELS)
        question = f"{f'{BREAKS}large, ' if fails else ''}word{self._sent}x of {self.uid}"
        named = {} if parent is None else {"parent_id": parent or "root"}
        body = {"content": question, "model": model, **named}
        path = f"/v1/chat/conversations/{self._conversation}/messages"
        self._sends(path, body, question, self._branches.leaf if parent is None else parent)

    def _anew(self) -> None:
        """The answer to one of the turns is given anew, beside it."""
        turn = self._dice.choice([*self._branches.nodes])
        node = self._branches.nodes[turn]
        self._sent += 1
        self._sends(f"/v1/chat/messages/{turn}/regenerate", {"model": "small"}, node.question, node.parent)

    def _fails_anew(self) -> None:
        """A second answer that fails beside the first one, and is asked for again under its key."""
        parents = [node.parent for node in self._branches.nodes.values()]
        self._says(self._dice.choice(parents), fails=True)

    def _sends(self, path: str, body: Json, question: str, parent: str) -> None:
        """Sends it until it is known how it ended."""
        key = f"write-{self._sent}"
        message = derived("msg", self.uid, self._conversation, key)
        self._known.conversations[message] = conversation_path(self.uid, self._conversation)
        self._known.questions[message] = question
        self._places[question], self._asked = parent, []
        told = self._until_told(path, body, key)
        stored = self._world.documents.real.get(f"{self._known.conversations[message]}/messages/{message}")
        if told is None or stored is None:
            self._lost = True
            return
        turn = stored.fields
        node = Node(parent, question, str(turn["answer"]), int_field(turn, "cost"), str(turn["state"]))
        self.found += self._branches.joins(message, node)
        self.found += self._branches.answered(told, parent, question) if told else ()
        for one in self._asked:
            self.found += self._branches.seen(one.prompt, parent)
        if node.state == "done":
            self._known.answers.setdefault(message, set()).add(node.cost)

    def _until_told(self, path: str, body: Json, key: str) -> Json | None:
        """The turn when it has ended; without fields when it failed. None when nobody knows.

        Nobody else sends this key, so that it is never in progress once it has ended.
        """
        failed = False
        for _ in range(_TRIES):
            told = self._requests("says", lambda backend: self._desk.says(backend, path, body, key))
            code = told.why if isinstance(told, Unsaid) else ""
            if not isinstance(told, Failure):
                return cast(Json, told)
            if failed and (code == _IN_PROGRESS or code.startswith(_HELD)):
                self.found.append(f"{key} had failed, and is refused with {code} when it is sent again")
                return None
            if code in FAILED:
                if failed:
                    return {}
                failed = True  # It cost nothing, and may be sent again.
            elif code not in ("", _IN_PROGRESS):
                return None
            else:
                failed = False  # The connection broke, and another attempt may be given by now.
                self._kernel.sleep(35 * SECOND)
        return None

    @property
    def _desk(self) -> Desk:
        return self._dice.choice(self._desks)

    def _requests(self, label: str, body: Callable[..., object]) -> object:
        return self._world.request(f"{self.uid} {label}", body)

    def _repeats(self) -> None:
        """The key of the last message with another parent: it is another message."""
        key, path = f"write-{self._sent}", f"/v1/chat/conversations/{self._conversation}/messages"
        message = derived("msg", self.uid, self._conversation, key)
        node = self._branches.nodes.get(message)
        stored = self._world.documents.real.get(f"{self._known.conversations[message]}/messages/{message}")
        if node is None or stored is None:
            return
        others = [one for one in ("root", *self._branches.nodes) if one not in (node.parent or "root", message)]
        if not others:
            return
        body = {"content": node.question, "model": stored.fields["model"], "parent_id": self._dice.choice(others)}
        told = self._requests("repeats", lambda backend: self._desk.says(backend, path, body, key))
        if not isinstance(told, Failure) or (isinstance(told, Unsaid) and told.why not in ("", _REUSED)):
            self.found.append(f"{key} was sent behind {body['parent_id']!r} as well, and answered {told}")

    def _goes_back(self) -> None:
        """Another branch becomes the active one."""
        turn = self._dice.choice([*self._branches.nodes])
        told = self._changes({"active_leaf": turn})
        if told is not None:
            self._branches.leaf = self._branches.below(turn)
            self.found += self._branches.shown(told)

    def _changes(self, changes: Json) -> Json | None:
        for _ in range(_TRIES):
            told = self._requests("changes", lambda backend: self._desk.change(backend, self._conversation, changes))
            if not isinstance(told, Failure):
                return cast(Json, told)
            if isinstance(told, Refusal):
                self.found.append(f"{changes} was refused: {told}")
                return None
            self._kernel.sleep(SECOND)
        self._lost = True
        return None

    def _files(self) -> None:
        """Pins it, and puts it away or not; then it stands on the lists of those that are so."""
        wanted = {"pinned": self._dice.random() < 0.5, "archived": self._dice.random() < 0.5, "title": "Work"}
        self._changes({"pinned": not wanted["pinned"], "archived": not wanted["archived"]})
        told = None if self._lost else self._changes(wanted)
        if told is None:
            return
        if {name: told[name] for name in wanted} != wanted:
            self.found.append(f"the conversation was to be {wanted}, and is {told}")
        for name in ("pinned", "archived"):
            for value in (True, False):
                page = self._reads("/v1/chat/conversations", f"{name}={str(value).lower()}&limit=50")
                ids = [one["id"] for one in cast(Sequence[Json], page["items"])] if page else []
                if page and (self._conversation in ids) != (wanted[name] is value):
                    self.found.append(f"the list of {name}={value} has {ids}, and it is {wanted}")

    def _looks(self) -> None:
        """At the conversation, at one of its branches and at its file; and looks for one of its words."""
        path = f"/v1/chat/conversations/{self._conversation}"
        if self._lost or not self._branches.nodes:
            return
        if conversation := self._reads(path):
            self.found += self._branches.shown(conversation)
        leaf = self._branches.below(self._dice.choice([*self._branches.nodes]))
        match self._dice.randrange(3):
            case 0:
                if page := self._reads(f"{path}/messages", f"leaf={leaf}&limit=50"):
                    self.found += self._branches.listed(cast(Sequence[Json], page["items"]), leaf)
            case 1:
                if file := self._reads(f"{path}/export"):
                    self.found += self._branches.exported(file)
            case _:
                word = self._branches.nodes[leaf].question.split()[-3]
                found = self._requests("searches", lambda backend: self._desk.search(backend, word))
                hits = [] if isinstance(found, Failure) else cast(Sequence[Json], cast(Json, found)["items"])
                wanted = {id for id, node in self._branches.nodes.items() if word in node.question}
                if not isinstance(found, Failure) and {one["message_id"] for one in hits} - {None} != wanted:
                    self.found.append(f"{word} was found in {hits}, and stands in {wanted}")

    def _reads(self, path: str, query: str = "") -> Json | None:
        told = self._requests("reads", lambda backend: self._desk.read(backend, path, query))
        return None if isinstance(told, Failure) else cast(Json, told)

    def _hears(self, asked: VendorAnswer) -> None:
        if asked.question in self._places:
            self._asked.append(asked)

    def _deletes(self) -> None:
        """A conversation goes while the answer to its only message fails, and that is on its way to a slow store."""
        begun = self._requests("begins", lambda backend: self._desks[0].begin(backend))
        if not isinstance(begun, str):
            return
        key, question = "write-doomed", f"{BREAKS}large at once, of {self.uid}"
        message, path = derived("msg", self.uid, begun, key), conversation_path(self.uid, begun)
        self._known.conversations[message], self._known.questions[message] = path, question
        self._doomed = f"{path}/messages/{message}"
        body = {"content": question, "model": "large"}
        send = f"/v1/chat/conversations/{begun}/messages"
        self._requests("says", lambda backend: self._desk.says(backend, send, body, key))

    def _dooms(self, writes: Sequence[Write]) -> None:
        """Called when somebody tries to write: the end of the doomed turn waits until its conversation is gone."""
        ends = [one for one in writes if one.path == self._doomed and _ends(one)]
        if not ends or self._kernel.current is None:
            return
        conversation = self._doomed.partition("/messages/")[0]
        self._doomed = ""
        self._kernel.start("rewriter deletes", partial(self._gone, conversation))
        self._kernel.sleep(2 * SECOND)

    def _gone(self, path: str) -> None:
        self._known.deletions.setdefault(path, False)
        told = self._requests("deletes", lambda b: self._desks[1].delete(b, path.rpartition("/")[2]))
        if not isinstance(told, Failure):
            self._known.deletions[path] = True


def _ends(write: Write) -> bool:
    fields: Fields = getattr(write, "fields", {})
    return fields.get("state") in ("done", "error")
