"""The public way: `train`, `load` and `Run`. The command line is a caller of these."""

from jaxgan.public.given import GameLike, own_of
from jaxgan.public.play import Stopped, Terminated, begin, play
from jaxgan.public.run import Run, load
from jaxgan.public.train import RunKeys, train

__all__ = ["GameLike", "Run", "RunKeys", "Stopped", "Terminated", "begin", "load", "own_of", "play", "train"]
