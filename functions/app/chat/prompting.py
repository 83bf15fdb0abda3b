"""What a model is sent of a conversation, within its context. Pure."""

from collections.abc import Sequence

from app.chat.conversation import Conversation, Exchange, fit
from app.metering.quote import LEAST_OUTPUT, check_fits
from app.models.catalogue import Model
from app.models.gateway import Message
from app.models.tokens import PER_MESSAGE, least, likely


def prompt(conversation: Conversation, question: str, images: tuple[str, ...], model: Model) -> list[Message]:
    """The system prompt, as many recent turns as fit the model in practice, and the question.

    Raises:
        PromptTooLong: the question alone surely does not fit (T-117).
    """
    system = [Message("system", conversation.system_prompt)] if conversation.system_prompt else []
    asked = Message("user", question, images)
    fixed, pictures = texts((*system, asked)), len(images) * model.image_input_tokens
    check_fits(model, least(fixed), len(images))
    left = model.context_tokens - _room_for_the_answer(model) - likely(fixed) - pictures
    return [*system, *_recalled(conversation.window, left), asked]


def texts(messages: Sequence[Message]) -> list[str]:
    """The texts whose tokens are counted."""
    return [message.text for message in messages]


def _recalled(window: Sequence[Exchange], left: int) -> list[Message]:
    """The recent exchanges that have at most `left` tokens, counted as `likely` does."""
    kept = fit(window, most_bytes=max(0, (left - 2 * PER_MESSAGE * len(window)) * 3 // 2))
    recalled: list[Message] = []
    for exchange in kept:
        recalled += [Message("user", exchange.question), Message("assistant", exchange.answer)]
    return recalled


def _room_for_the_answer(model: Model) -> int:
    return max(LEAST_OUTPUT, min(model.max_output_tokens, model.context_tokens // 4))
