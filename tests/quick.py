"""What tests share beside fixtures; to import it changes nothing."""

from functools import partial

import jax

_options: dict[str, bool | int] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
    _options["xla_cpu_use_fusion_emitters"] = False  # newer compilers have no other way

quick_jit = partial(jax.jit, compiler_options=_options)
"""For what runs once or twice and is compared to rounding: compiles sooner. Not for tests of bits."""
