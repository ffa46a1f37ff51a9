"""The exceptions that reach a user, and the exit code each one means.

Every room may import this module; it imports nothing. A message names the file, row or option that
is wrong and how to mend it, since it is all the user sees (a traceback needs ``--debug``).
"""


class HarnessError(Exception):
    """The work failed. Exit code 1."""

    exit_code = 1


class InputError(HarnessError):
    """What the user gave is wrong: a file, a row, an option. Exit code 2."""

    exit_code = 2


class DataNotFoundError(InputError):
    """There is nothing where a data set was named."""


class NotFittedError(HarnessError):
    """A predictor was asked to predict or save before it was fitted or loaded."""


class PredictionError(HarnessError):
    """A plugin returned something that is not one finite 384-d row for each image."""


class TaskFailedError(HarnessError):
    """One or more tasks of a run failed; the run folder holds their tracebacks."""


class VerificationError(HarnessError):
    """A published figure does not come out again."""
