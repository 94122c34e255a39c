"""`python -m jaxgan` is the command `jaxgan`."""

import os
import sys

# Python puts the current folder first, where a file may have the name of something installed.
if sys.path[:1] in ([""], [os.getcwd()]) and not __file__.startswith(os.path.join(os.getcwd(), "jaxgan")):
    del sys.path[0]

from jaxgan.cli import main

sys.exit(main())
