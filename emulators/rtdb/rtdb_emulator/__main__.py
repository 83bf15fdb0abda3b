"""The command `rtdb-emulator`, alias `python -m rtdb_emulator`."""

import asyncio
import gc
import logging
import os
import sys

from rtdb_emulator.journal import DamagedFile
from rtdb_emulator.server import Server
from rtdb_emulator.settings import Settings, parse


def main() -> int:
    """Run until SIGINT or SIGTERM; the result is the exit code."""
    settings = parse(sys.argv[1:], os.environ)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    # The tree is acyclic and long-lived; scanning it again and again would stop the world for its whole size.
    gc.set_threshold(50_000, 50, 1000)
    try:
        asyncio.run(_serve(settings))
    except DamagedFile as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        # firebase-tools looks for "address already in use".
        sys.stderr.write(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}\n")
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    server = Server(settings)
    gc.freeze()
    await server.run()


if __name__ == "__main__":
    sys.exit(main())
