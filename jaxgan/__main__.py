"""`python -m jaxgan` is the command `jaxgan`."""

import os
import sys

here, home = os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if sys.path[:1] in ([""], [here]) and here != home:
    # Python puts the current folder first, where a file may have the name of something installed.
    del sys.path[0]

from jaxgan.cli import main

sys.exit(main())
