"""The command: python -m emulators.model_vendor."""

import argparse
import sys
from math import inf

from emulators.model_vendor.pacing import FAST, Speed
from emulators.model_vendor.server import run

_EPILOG = """\
faults: a model may carry a spec, e.g. sim-small!disconnect-after=3,usage=missing; the header X-Sim-Fault takes the
same. README.md beside this module lists them all.
control: GET /__sim/requests, POST /__sim/reset, POST /__sim/faults.
"""


def _positive(text: str) -> float:
    value = inf if text == "max" else float(text)
    if value <= 0:
        raise ValueError
    return value


def _delay(text: str) -> float:
    value = float(text)
    if not 0 <= value < inf:
        raise ValueError
    return value


def main(arguments: list[str]) -> int:
    """Parse the arguments and serve."""
    natural = Speed()
    parser = argparse.ArgumentParser(
        prog="python -m emulators.model_vendor",
        description="An OpenAI-compatible model vendor: offline, deterministic, and failing on request.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=21100, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--first-token-ms", type=_delay, metavar="MS",
        help=f"delay before the first token (default: {natural.first_token_ms:g})",
    )  # fmt: skip
    parser.add_argument(
        "--tokens-per-second", type=_positive, metavar="N",
        help=f"rate after the first token, or max (default: {natural.tokens_per_second:g})",
    )  # fmt: skip
    parser.add_argument("--fast", action="store_true", help="no delays at all, unless the two options above set one")
    options = parser.parse_args(arguments)
    base = FAST if options.fast else natural
    first, rate = options.first_token_ms, options.tokens_per_second
    speed = Speed(
        base.first_token_ms if first is None else first,
        base.tokens_per_second if rate is None else rate,
    )
    return run(options.host, options.port, speed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
