"""The settings of all features, read and checked together. Each feature's own stand in its `settings.py`."""

from typing import NamedTuple

from app.api.settings import ApiSettings
from app.assistant.settings import AssistantSettings
from app.bonus.settings import BonusSettings
from app.credits.settings import CreditsSettings
from app.kit.deployment import Deployment
from app.kit.environment import Environment
from app.models.settings import ModelsSettings
from app.rates.settings import RatesSettings


class Settings(NamedTuple):
    """One deployment."""

    deployment: Deployment
    api: ApiSettings
    credits: CreditsSettings
    bonus: BonusSettings
    models: ModelsSettings
    assistant: AssistantSettings
    rates: RatesSettings

    @classmethod
    def read(cls, env: Environment) -> "Settings":
        """Reads the environment; functions/.env.example names every variable.

        Raises:
            BadSetting: the first variable that is missing or wrong, in one sentence that names it.
        """
        return cls(
            deployment=Deployment.read(env),
            api=ApiSettings.read(env),
            credits=CreditsSettings.read(env),
            bonus=BonusSettings.read(env),
            models=ModelsSettings.read(env),
            assistant=AssistantSettings.read(env),
            rates=RatesSettings.read(env),
        )
