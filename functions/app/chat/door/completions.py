"""Opens chat completions: reserves for one that is asked for, or finds the answer that its key had before."""

from dataclasses import dataclass, replace
from typing import Final

from app.chat import turn as turns
from app.chat.branching.tree import Spent
from app.chat.conversation import Place
from app.chat.door.completion import CompletionAsk, expired, paid_call, path_of, recording, write
from app.chat.live.stream_mirror import Closing
from app.chat.opening import Opened
from app.chat.paid_turn import granted
from app.chat.prompting import texts
from app.chat.turn import Turn
from app.kit.clock import Clock, to_rfc3339
from app.kit.errors import AlreadyExists, KeyReused, Rejection
from app.kit.ids import Ids
from app.kit.stopwatch import Stopwatch
from app.kit.stores.documents import Delete, Documents, Fields
from app.metering.paid_call import reservation_id
from app.metering.quote import MOST_OUTPUT, Granted, Outputs, Quote, check_fits, demand, quote
from app.metering.reserving import Reserving, in_progress
from app.models.catalogue import UnsuitableModel
from app.models.pricing import PriceBook
from app.models.tokens import least

_PLACE: Final = Place("", (), Spent())


@dataclass(frozen=True, slots=True)
class CompletionOpening:
    """`app.chat.answering.Opens` for completions. `lease_us` and `usual_output`: as those of `Opening`."""

    documents: Documents
    reserving: Reserving
    book: PriceBook
    clock: Clock
    ids: Ids
    lease_us: int
    usual_output: int

    def open(self, ask: CompletionAsk, _: Stopwatch, /) -> Opened | Turn:
        """Reserves for the completion; or, for a key that was answered before, that answer.

        Raises:
            UnknownModel, ModelNotOffered, UnsuitableModel, PromptTooLong, MaxCostTooLow, InsufficientCredits
            KeyReused: the key came with another request.
            CallInProgress: the first request with this key is still running.
        """
        if ask.key is None:
            return self._reserve(ask)
        try:
            return self._reserve(ask)
        except (AlreadyExists, Rejection) as error:
            # A refusal may come before the commit could meet the first answer, which goes first.
            stored = self.documents.get(path_of(ask, ""))
            if stored is None:
                raise
            if expired(stored.fields, self.clock.now_us()):
                self.documents.commit([Delete(stored.path, stored.version)])
                return self._reserve(ask)
            turn = turns.read(stored.fields)
            if turn.request_hash != ask.hash:
                raise KeyReused("This Idempotency-Key was used for another request.") from error
            if turn.end is None:
                call = paid_call(turn, stored.path)
                raise in_progress(call, "The first request with this key is still running.") from error
            return turn

    def _reserve(self, ask: CompletionAsk) -> Opened:
        quoted = self._quote(ask)
        draft = self._draft(ask, quoted)
        call = paid_call(draft, path_of(ask, draft.id), request_id=ask.request_id, spender=ask.spender)

        def begun(grant: Granted) -> Fields:
            return write(granted(draft, bounded(grant, ask.most_output)), self.clock.now_us())

        reserved = self.reserving.reserve(call, quoted, begun, lease_us=self.lease_us)
        grant = bounded(reserved, ask.most_output)
        return Opened(
            granted(draft, grant),
            call,
            quoted.model,
            ask.messages,
            grant,
            self.book,
            _PLACE,
            self.reserving.holding(call, quoted, grant),
            options=ask.options,
            beside=ask.beside,
            record=recording(keeps_answer=ask.key is not None),
            waits_us=ask.waits_us,
        )

    def _quote(self, ask: CompletionAsk) -> Quote:
        model = self.book.catalogue.get(ask.model)
        if missing := [one for one in ask.needed if not model.can(one)]:
            told = f"The model {model.id} cannot do what is asked: {', '.join(missing)}."
            raise UnsuitableModel(told, model=model.id, needed=[*ask.needed])
        written = [*texts(ask.messages), *ask.beside]
        check_fits(model, least(written), ask.images)
        most = MOST_OUTPUT if ask.most_output is None else ask.most_output
        # A model that is asked to think may do it unseen, whatever the catalogue says of it.
        outputs = Outputs(usual=self.usual_output, unseen=ask.options.get("reasoning_effort", "none") != "none")
        wanted = demand(model, written, ask.images, most_output=most)
        wanted = replace(wanted, input_tokens=wanted.input_tokens + ask.framing)
        return quote(self.book, model, wanted, outputs=outputs, max_cost=ask.max_cost)

    def _draft(self, ask: CompletionAsk, quoted: Quote) -> Turn:
        """The completion before anything is reserved for it: a turn of no conversation, which names no question."""
        id, now_us = self.ids.new("cmp"), self.clock.now_us()
        return Turn(
            id=id,
            account=ask.uid,
            conversation_id="",
            attempt=1,
            request_hash=ask.hash,
            question="",
            images=(),
            model=quoted.model.id,
            route="requested",
            reservation_id=reservation_id(id, 1),
            reserved=0,
            max_output_tokens=quoted.demand.output_tokens,
            clamped=False,
            instance="",
            created_at=to_rfc3339(now_us),
            lease_until=to_rfc3339(now_us + self.lease_us),
        )


def bounded(grant: Granted, most_output: int | None) -> Granted:
    """The grant of a client that wants at most so many tokens, which may be fewer than are worth quoting."""
    if most_output is None:
        return grant
    limits = {id: min(limit, most_output) for id, limit in grant.limits.items()}
    return replace(grant, wanted=min(grant.wanted, most_output), limits=limits)


class NoMirror:
    """`StreamMirror` of answers that nobody follows in the Realtime Database."""

    def open(self, uid: str, message_id: str, model: str, *, attempt: int = 1, keep: bool = False) -> None:
        pass

    def explain(self, message_id: str, because: str) -> None:
        pass

    def append(self, message_id: str, text: str, *, attempt: int = 0) -> None:
        pass

    def close(self, message_id: str, closing: Closing, *, attempt: int = 0) -> None:
        pass

    def leave(self, message_id: str, *, attempt: int) -> None:
        pass

    def drained(self, message_id: str) -> None:
        pass
