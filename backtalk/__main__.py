"""`python -m backtalk`: the same as the command `backtalk`."""

import sys

from backtalk.cli import main

sys.exit(main())
