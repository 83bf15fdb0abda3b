"""What is known of one model vendor. Pure."""

from dataclasses import dataclass, field
from typing import Final, Literal

PLATFORM: Final = "platform"
"""The vendor that AI_PLATFORM_BASE_URL and AI_PLATFORM_API_KEY describe: that of models which name no other."""

Dialect = Literal["openai", "deepseek", "xai"]
"""How a vendor counts tokens in a chat completion, see `app.models.usage`."""

Parameter = Literal["stream_options", "user"]
"""A parameter of a request that not every server takes. Without `stream_options` the vendor must count unasked."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor of chat completions.

    `key_name` is the variable that holds its key, empty where the vendor takes none; `key` is what it holds. `dialect`
    is that of its models which name none. `takes`: the parameters of `Parameter` that are sent to it. The seconds are
    how long it is waited for where that differs from the deployment's settings (0: it does not); those of a model go
    first.
    """

    id: str
    name: str
    base_url: str
    key_name: str = ""
    key: str = field(default="", repr=False)
    dialect: Dialect = "openai"
    takes: frozenset[Parameter] = frozenset({"stream_options", "user"})
    connect_seconds: int = 0
    first_token_seconds: int = 0
    silence_seconds: int = 0

    @property
    def configured(self) -> bool:
        """Whether it can be asked: it has its key, or takes none."""
        return bool(self.key) or not self.key_name
