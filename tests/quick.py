"""What tests share beside fixtures; to import it changes nothing."""

from functools import partial

import jax

quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""For what runs once or twice and is compared to rounding: a third of the time to compile. Not for what tests bits."""
