"""What the monitoring routes return."""

from typing import Literal

from app.api.schemas import ResponseBody, Timestamp


class DependencyAnswer(ResponseBody):
    status: Literal["up", "down"]
    reason: str | None = None


class HealthAnswer(ResponseBody):
    """`down` when nothing works, `degraded` when a part does not."""

    status: Literal["ok", "degraded", "down"]
    checked_at: Timestamp
    dependencies: dict[str, DependencyAnswer]


class InfoAnswer(ResponseBody):
    """The deployment and the instance that answers."""

    name: str
    version: str
    project: str
    runtime: str
    instance_started_at: Timestamp
    documentation: str
