"""What the monitoring routes return."""

from typing import Literal

from app.api.schemas import Answer, Timestamp


class DependencyAnswer(Answer):
    status: Literal["up", "down"]
    reason: str | None = None


class HealthAnswer(Answer):
    """`down` when nothing works, `degraded` when a part does not."""

    status: Literal["ok", "degraded", "down"]
    checked_at: Timestamp
    dependencies: dict[str, DependencyAnswer]


class InfoAnswer(Answer):
    """What answers here."""

    name: str
    version: str
    project: str
    runtime: str
    instance_started_at: Timestamp
    documentation: str
