"""The only entrance: the verbs of the engine and of this daemon."""

import sys

from actors import commands


def main() -> None:
    """Run the command line."""
    sys.exit(commands.main())


if __name__ == "__main__":
    main()
