"""``python -m gateway`` and the ``gateway`` command."""

import os
import sys

from gateway.cli import app

OTHERS = 0o077
"""Takes all rights to created files from other users of the machine: they hold usage and keys."""


def main() -> int:
    """Run the command line; see ``gateway.cli.app``."""
    os.umask(os.umask(OTHERS) | OTHERS)  # inherited by the programs that it becomes or starts
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
