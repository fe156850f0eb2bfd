"""``python -m gateway`` and the ``gateway`` command."""

import sys

from gateway.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
