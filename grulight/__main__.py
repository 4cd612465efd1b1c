"""``python -m grulight`` is ``grulight``."""

import sys

from grulight.cli import main

sys.exit(main())
