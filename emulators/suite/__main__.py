"""`python -m emulators.suite`: set up, run, stop, test, doctor."""

import sys

from emulators.suite.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
