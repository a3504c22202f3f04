"""``python -m cordboard``."""

from __future__ import annotations

import sys

from cordboard.cli import main

if __name__ == "__main__":
    sys.exit(main())
