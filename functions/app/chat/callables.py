"""The callable `send_message`: the same message through a client SDK's `httpsCallable`, which cannot stream.

The text is mirrored to the Realtime Database while it is made, so a listener sees it grow all the same.
"""

from collections.abc import Mapping

from app.api.callables import Invocation
from app.chat import serializers
from app.chat.opening import Ask
from app.chat.schemas import CallableMessage
from app.chat.service import Chat
from app.metering.billing import Mode


def send_message(chat: Chat, call: Invocation) -> Mapping[str, object]:
    """Answers a message; the same object as the route's JSON.

    Raises:
        Rejection, Fault: as the route; also when the data does not fit `CallableMessage`.
    """
    body = call.fit(CallableMessage)
    ask = Ask(
        uid=call.who.uid,
        conversation_id=body.conversation_id,
        content=body.content,
        images=tuple(body.images),
        model=body.model,
        max_cost=body.max_cost,
        key=body.idempotency_key,
        request_id=call.request_id,
        parent=body.parent,
        quote=body.quote_id,
    )
    over = chat.answer(ask, Mode.JSON).over()
    return serializers.message(over.turn, over.end).model_dump(mode="json")
