"""What the emulator can be told, from the command line and the environment. Reads nothing else."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "RTDB_EMULATOR_"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("", "0", "false", "no", "off")
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are in seconds."""

    host: str = "127.0.0.1"
    port: int = 9000
    single_project_mode: str | None = None
    functions_host: str | None = None
    functions_port: int | None = None
    data_file: Path | None = None
    sync: bool = False
    compact_above: int = 4 * 1024 * 1024
    control: bool = False
    keep_alive: float = 30.0
    heartbeat: float = 45.0
    poll_hold: float = 20.0
    poll_timeout: float = 60.0
    parallel_triggers: int = 32
    log_level: str = "INFO"


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Options win over the environment; exits with a message on a bad option."""
    options = _parser(environment).parse_args(arguments)
    return Settings(**vars(options))


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtdb-emulator",
        description="A stand-in for the Firebase Realtime Database emulator.",
        epilog=f"Each of our own options, --some-name, may also come from the environment as {PREFIX}SOME_NAME.",
    )
    _firebase_tools_options(parser)
    known = {_variable(option): action for action in _own_options(parser) for option in action.option_strings}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        action = known.get(name)
        if action is None:
            parser.exit(2, f"{parser.prog}: {name} is no variable of the emulator; --help lists its options\n")
        read = _truth if action.nargs == 0 else action.type
        try:
            action.default = read(value) if callable(read) else value
        except argparse.ArgumentTypeError as error:
            parser.exit(2, f"{parser.prog}: {name} {error}\n")
    return parser


def _variable(option: str) -> str:
    return PREFIX + option.removeprefix("--").replace("-", "_").upper()


def _firebase_tools_options(parser: argparse.ArgumentParser) -> None:
    defaults = Settings()
    group = parser.add_argument_group("the options that firebase-tools passes")
    group.add_argument("--host", default=defaults.host, help="address to listen on (%(default)s)")
    group.add_argument("--port", type=int, default=defaults.port, help="port to listen on (%(default)s)")
    group.add_argument("--single_project_mode", help="accepted, and only ever a warning")
    group.add_argument(
        "--functions_emulator_host", dest="functions_host", metavar="HOST", help="where triggers are sent"
    )
    group.add_argument("--functions_emulator_port", dest="functions_port", metavar="PORT", type=int)


def _own_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    defaults = Settings()
    group = parser.add_argument_group("our own options")

    def seconds(option: str, name: str, meaning: str) -> argparse.Action:
        default = getattr(defaults, name)
        return group.add_argument(
            option, dest=name, type=_seconds, default=default, metavar="N", help=f"{meaning} (%(default)s)"
        )

    add = group.add_argument
    return [
        add("--data", "--data-file", dest="data_file", metavar="FILE", type=Path, help="keep data in this file"),
        add("--sync", action="store_true", help="wait for the disk before a write is acknowledged"),
        add(
            "--compact-above",
            type=_count,
            default=defaults.compact_above,
            metavar="BYTES",
            help="rewrite the data file when it is larger (%(default)s)",
        ),
        add("--control", action="store_true", help="switch the test control API on"),
        add(
            "--parallel-triggers",
            type=_count,
            default=defaults.parallel_triggers,
            metavar="N",
            help="trigger events under way at once, 0 for no limit (%(default)s)",
        ),
        add(
            "--log-level",
            type=_level,
            default=defaults.log_level,
            metavar="LEVEL",
            help="DEBUG, INFO, WARNING (%(default)s)",
        ),
        seconds("--keep-alive-seconds", "keep_alive", "between keep-alives of event streams"),
        seconds("--heartbeat-seconds", "heartbeat", "between pings of a WebSocket; one that is silent is cut"),
        seconds("--poll-hold-seconds", "poll_hold", "how long a long poll waits for something to say"),
        seconds("--poll-timeout-seconds", "poll_timeout", "after which a client that does not poll is gone"),
    ]


def _truth(value: str) -> bool:
    word = value.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise argparse.ArgumentTypeError(f"should be true or false, and is {value!r}")
    return word in _TRUE


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"should be a number of seconds above 0, and is {value!r}")
    return seconds


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise argparse.ArgumentTypeError(f"should be a whole number, and is {value!r}")
    return int(value)


def _level(value: str) -> str:
    level = value.strip().upper()
    if level not in _LEVELS:
        known = ", ".join(_LEVELS)
        raise argparse.ArgumentTypeError(f"should be one of {known}, and is {value!r}")
    return level
