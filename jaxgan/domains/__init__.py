"""What an example is: how networks see it, how people see it, how it becomes files, and which scores make sense.

A domain is registered by its own file, see `jaxgan.domains.base`; every file of this folder is imported.
"""

import importlib
import pkgutil

from jaxgan.domains.base import ARRAYS, DOMAINS, REAL, Domain, Shown, described, domain, of
from jaxgan.domains.image import Image
from jaxgan.domains.numbers import Numbers

__all__ = ["ARRAYS", "DOMAINS", "REAL", "Domain", "Image", "Numbers", "Shown", "described", "domain", "of"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
