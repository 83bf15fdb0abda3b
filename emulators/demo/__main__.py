"""The command: python -m emulators.demo, against the suite that `make run` started."""

import sys

from emulators.demo.story import main

if __name__ == "__main__":
    sys.exit(main())
