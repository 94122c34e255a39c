"""GAN training in JAX: pure update steps over one immutable state, fast, resumable, repeatable to the bit."""

__version__ = "0.1.0"
