"""The command line."""

from jaxgan.cli.commands import main

__all__ = ["main"]
