"""`python -m jaxgan` is the command `jaxgan`."""

import os
import sys

if sys.path[:1] in ([""], [os.getcwd()]):
    del sys.path[
        0
    ]  # Python puts the current folder first, where a file may have the name of something installed

from jaxgan.cli import main

sys.exit(main())
