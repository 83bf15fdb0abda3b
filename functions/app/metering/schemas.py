"""What the route of the billing table returns."""

from pydantic import Field

from app.api.schemas import ResponseBody
from app.metering.billing import Basis, Ending, Mode, Payer


class RuleAnswer(ResponseBody):
    """One cell of the table: a call that was asked for in this mode and ended so."""

    ending: Ending
    mode: Mode
    payer: Payer
    basis: Basis
    reason: str = Field(description="The code that stands on the turn and on the entry of the ledger")
    words: str = Field(description="The same as a sentence")


class PolicyAnswer(ResponseBody):
    """Who pays for which ending: the table by which every call is charged."""

    most: str = Field(description="What holds for every line")
    endings: dict[Ending, str] = Field(description="What each ending means")
    bases: dict[Basis, str] = Field(description="What is charged for")
    rules: list[RuleAnswer]
