"""Processes of one run: how they meet, agree on what they are about to do, and notice that one of them is gone.

For example:

    >>> present() is None  # this process is alone
    True
    >>> leave(2)  # and nobody waits for it
"""

from jaxgan.peers.meeting import leave, meet, present, settle
from jaxgan.peers.watch import Peers

__all__ = ["Peers", "leave", "meet", "present", "settle"]
