"""``python -m atrium_suite`` is ``atrium up``."""

from __future__ import annotations

import sys

from atrium_suite.cli.main import main

if __name__ == "__main__":
    main(["up", *sys.argv[1:]])
