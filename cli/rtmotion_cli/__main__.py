"""`python -m rtmotion_cli` is the command `rtmotion`."""

import sys

from rtmotion_cli.main import main

sys.exit(main())
