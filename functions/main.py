"""Every deployed function on one page. Each body is one call; `app.wiring` builds what it calls when first used."""

from app import emulator  # noqa: F401, I001 - first of all: ties an emulator's worker to its parent

from firebase_functions import https_fn, options
from flask import Request, Response

from app import wiring
from app.api import mount

SECRETS = ["AI_PLATFORM_API_KEY", "LEDGER_SIGNING_KEY"]

wiring.refuse_a_bad_start()
# cpu=1 must be said: the default of this call is a fractional CPU, which allows one request at a time.
options.set_global_options(region="us-central1", cpu=1, memory=512, max_instances=20, secrets=SECRETS)


@https_fn.on_request(memory=512, cpu=1, concurrency=80, timeout_sec=300)
def api(request: Request) -> Response:
    """The HTTP API: every route of the OpenAPI document."""
    return mount.serve(wiring.services().edge, request)
