"""Worker processes: started, given work, held to limits, and ended with all that they started.

The parent's side is ``WorkerGroup``, which starts ``WorkerProcess``es and receives what they reply; the worker's side
is a function that is handed a ``Connection``.
"""

from harness.process.child import Connection
from harness.process.cores import usable_cores
from harness.process.group import WorkerGroup
from harness.process.memory import usable_memory
from harness.process.parent import MODEST, End, Limits, WorkerProcess

__all__ = ["MODEST", "Connection", "End", "Limits", "WorkerGroup", "WorkerProcess", "usable_cores", "usable_memory"]
