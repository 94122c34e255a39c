"""A process that computes in float64 all that others compute in float32, where the environment asks for it.

Layers name float32 as what they compute in; so that one name stands for the other, this is imported before jaxgan.
"""

import os

import jax
import jax.numpy as jnp

VARIABLE = "BENCHMARK_IN_FLOAT64"

if os.environ.get(VARIABLE):
    jax.config.update("jax_enable_x64", True)
    jnp.float32 = jnp.float64
