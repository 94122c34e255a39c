"""The two ways in which a run can fail, told apart by who can mend them."""


class InputError(ValueError):
    """A user's mistake: one line that says what is wrong, where, and what to do. The command line exits 2."""


class RunError(RuntimeError):
    """A failure while running that no change of the input explains (disk, numerics). The command line exits 1."""
