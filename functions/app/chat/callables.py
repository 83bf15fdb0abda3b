"""The callable `send_message`: the same message through a client SDK's `httpsCallable`, which cannot stream.

The text is mirrored to the Realtime Database while it is made, so that a listener sees it grow.
"""

from collections.abc import Mapping

from app.chat import serializers
from app.chat.opening import Ask
from app.chat.schemas import CallableMessage
from app.chat.service import Chat
from app.metering.billing import Mode


def send_message(chat: Chat, uid: str, data: object, request_id: str = "") -> Mapping[str, object]:
    """Answers a message; returns the object that the route gives as JSON.

    Raises:
        ValidationError: `data` does not fit `CallableMessage`.
        Rejection, Fault: as the route.
    """
    body = CallableMessage.model_validate(data)
    ask = Ask(
        uid=uid,
        conversation_id=body.conversation_id,
        content=body.content,
        images=tuple(body.images),
        model=body.model,
        max_cost=body.max_cost,
        key=body.idempotency_key,
        request_id=request_id,
    )
    over = chat.answer(ask, Mode.JSON).over()
    return serializers.message(over.turn, over.end).model_dump(mode="json")
