"""The models that the simulator serves. Every other id does not exist."""

from dataclasses import dataclass
from typing import Literal

from emulators.model_vendor.errors import bad_request, model_not_found


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it can do and its limits in tokens."""

    id: str
    kind: Literal["chat", "embedding", "image"]
    context_tokens: int = 128_000
    max_output_tokens: int = 16_384
    sees: bool = False
    reasons: bool = False


MODELS = {
    model.id: model
    for model in (
        Model("sim-small", "chat"),
        Model("sim-large", "chat", context_tokens=400_000, max_output_tokens=32_768, sees=True),
        Model("sim-vision", "chat", sees=True),
        Model("sim-reasoning", "chat", context_tokens=200_000, max_output_tokens=65_536, reasons=True),
        Model("sim-embed", "embedding", context_tokens=8192),
        Model("sim-image", "image"),
    )
}


def find(model_id: str, kind: str) -> Model:
    """The model with exactly this id, or the vendor's 404 (400 when it does another job)."""
    model = MODELS.get(model_id)
    if model is None:
        raise model_not_found(model_id)
    if model.kind != kind:
        raise bad_request(f"The model `{model_id}` is not a {kind} model.", param="model", code="unsupported_model")
    return model
