"""Every deployed function on one page. Each body is one call; `app.wiring` builds what it calls when first used."""

from app import emulator  # noqa: F401, I001 - first of all: ties an emulator's worker to its parent

from firebase_functions import db_fn, https_fn, options, scheduler_fn, tasks_fn
from flask import Request, Response

from app import process
from app.api import callables, mount, triggers
from app.kit.deployment import LONGEST_REQUEST_S
from app.outside import REGION

# An alarm may ring early (the local emulator does not wait, clocks differ) and then comes again.
ALARM_RETRIES = options.RetryConfig(max_attempts=20, min_backoff_seconds=1, max_backoff_seconds=300)
SECRETS = ["AI_PLATFORM_API_KEY", "LEDGER_SIGNING_KEY", *process.vendor_secrets()]

process.start()
# cpu=1 must be said: the default of this call is a fractional CPU, which allows one request at a time.
options.set_global_options(region=REGION, cpu=1, memory=512, max_instances=20, secrets=SECRETS)


@https_fn.on_request(memory=512, cpu=1, concurrency=process.CONCURRENCY, timeout_sec=LONGEST_REQUEST_S)
def api(request: Request) -> Response:
    """The HTTP API: every route of the OpenAPI document."""
    return mount.serve(process.system().edge, request)


@callables.read_strictly
@https_fn.on_call(memory=512, cpu=1, concurrency=process.CONCURRENCY, timeout_sec=LONGEST_REQUEST_S)
def send_message(request: https_fn.CallableRequest[object]) -> object:
    """A message to a conversation, answered whole; the text also streams through the Realtime Database."""
    return process.system().call("send_message", request)


@callables.read_strictly
@https_fn.on_call(memory=512, cpu=1, concurrency=process.CONCURRENCY, timeout_sec=60)
def claim_welcome_bonus(request: https_fn.CallableRequest[object]) -> object:
    """The welcome bonus, or its next step, when the evidence allows it."""
    return process.system().call("claim_welcome_bonus", request)


@callables.read_strictly
@https_fn.on_call(memory=512, cpu=1, concurrency=process.CONCURRENCY, timeout_sec=60)
def get_balance(request: https_fn.CallableRequest[object]) -> object:
    """The caller's balance, as GET /v1/credits/balance gives it."""
    return process.system().call("get_balance", request)


@triggers.on_document_written(document="accounts/{uid}", retry=True, concurrency=40, timeout_sec=60)
def mirror_balance(event: triggers.DocumentWritten) -> None:
    """Shows the balance to its owner: `/users/{uid}/balance` follows the account."""
    process.system().credits.account_written(event.fields)


@triggers.with_retry
@db_fn.on_value_created(reference="/users/{uid}/presence", concurrency=40, timeout_sec=60)
@triggers.logged
def open_account(event: db_fn.Event[object]) -> None:
    """Opens the account of who comes online for the first time, like any other first touch."""
    process.system().credits.open_account(event.params["uid"])


@scheduler_fn.on_schedule(schedule="every 1 minutes", max_instances=1, timeout_sec=120)
@triggers.logged
def sweep(_: scheduler_fn.ScheduledEvent) -> None:
    """Ends what was left open: overdue reservations, answers whose instance died, operations that nobody rang for."""
    process.system().orchestration.sweep()


@triggers.with_retry
@db_fn.on_value_created(reference="/orchestration/queue/{lane}/{ticket}", concurrency=20, timeout_sec=540)
@triggers.logged
def run_operation(event: db_fn.Event[object]) -> None:
    """Runs operations: a ticket was put up in a lane."""
    process.system().orchestration.run_lane(event.params["lane"], event.params["ticket"])


@tasks_fn.on_task_dispatched(retry_config=ALARM_RETRIES, concurrency=40, timeout_sec=60)
@triggers.logged
def due(request: https_fn.CallableRequest[object]) -> None:
    """Rings for an operation whose time has come. Named without an underscore: task queues take none."""
    process.system().orchestration.ring_due(request.data)


@triggers.on_document_written(document="sagas/{saga}", retry=True, concurrency=40, timeout_sec=60)
def show_saga(event: triggers.DocumentWritten) -> None:
    """Shows the progress of a long piece of work to its owner: `/users/{uid}/tasks/...` follows the saga."""
    process.system().orchestration.show_saga(event.params["saga"])
