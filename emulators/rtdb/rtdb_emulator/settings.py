"""What the emulator can be told, from the command line and the environment. Reads nothing else."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "RTDB_EMULATOR_"


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
    for action in _own_options(parser):
        for option in action.option_strings:
            value = environment.get(PREFIX + option.removeprefix("--").replace("-", "_").upper())
            if value is not None:
                action.default = _truth(value) if action.nargs == 0 else value
    return parser


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
            option, dest=name, type=float, default=default, metavar="N", help=f"{meaning} (%(default)s)"
        )

    add = group.add_argument
    return [
        add("--data", "--data-file", dest="data_file", metavar="FILE", type=Path, help="keep data in this file"),
        add("--sync", action="store_true", help="wait for the disk before a write is acknowledged"),
        add(
            "--compact-above",
            type=int,
            default=defaults.compact_above,
            metavar="BYTES",
            help="rewrite the data file when it is larger (%(default)s)",
        ),
        add("--control", action="store_true", help="switch the test control API on"),
        add(
            "--parallel-triggers",
            type=int,
            default=defaults.parallel_triggers,
            metavar="N",
            help="trigger events under way at once, 0 for no limit (%(default)s)",
        ),
        add("--log-level", default=defaults.log_level, metavar="LEVEL", help="DEBUG, INFO, WARNING (%(default)s)"),
        seconds("--keep-alive-seconds", "keep_alive", "between keep-alives of event streams"),
        seconds("--heartbeat-seconds", "heartbeat", "between pings of a WebSocket; one that is silent is cut"),
        seconds("--poll-hold-seconds", "poll_hold", "how long a long poll waits for something to say"),
        seconds("--poll-timeout-seconds", "poll_timeout", "after which a client that does not poll is gone"),
    ]


def _truth(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on")
