"""Structured logs: one JSON object a line on standard output, as Cloud Logging reads them.

What is bound to the context (request id, account, operation) appears on every line of that request. Text that a user
wrote and credentials are never logged.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

_SEVERITY: Final = {"warn": "WARNING", "exception": "ERROR"}


def start_logging(level: int = logging.INFO) -> None:
    """Configures the logging of this process; the composition root calls it once."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            _as_cloud_logging,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )


def log(area: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of one area, such as `credits`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(area=area)
    return logger


@contextmanager
def context(**values: str) -> Iterator[None]:
    """Binds `values` to every line that is logged inside the `with` block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


def _as_cloud_logging(
    _: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """`message` and `severity` are the names that Cloud Logging shows and filters by."""
    event["message"] = event.pop("event")
    event["severity"] = _SEVERITY.get(method, method.upper())
    return event
