"""`python -m jaxgan` is the command `jaxgan`."""

import sys

from jaxgan.cli import main

sys.exit(main())
