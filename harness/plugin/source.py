"""How a class travels to another process: by module and name, by file, or by value."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import pickle
import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import InputError


@dataclass(frozen=True)
class ClassSource:
    """Where another process finds a class: plain texts, which can be pickled or written as JSON.

    A class of a module is imported over there by the module's name, or, where no import finds it so (a
    ``--plugin-file``), from the module's file. One that stands inside a function, in ``__main__`` (a script, a
    notebook) or in a module without a file is sent by value, and with it what it refers to in there.

    Parameters
    ----------
    module, qualname
        Its module and its name in there.
    file
        The module's file; empty if it has none.
    path
        ``sys.path`` of the process that knows the class.
    value
        The class itself, base64 of its cloudpickle, where it is in no module that could be imported again.
    """

    module: str
    qualname: str
    file: str
    path: list[str]
    value: str = ""

    @classmethod
    def of(cls, defined: type) -> ClassSource:
        """Describe a class. Raises ``InputError`` if it can neither be imported again nor sent by value."""
        module = sys.modules.get(defined.__module__)
        origin = getattr(module, "__file__", None)
        file = str(Path(origin).resolve()) if origin else ""
        path = [str(Path(entry).resolve()) for entry in sys.path]
        value = ""
        if module is None or defined.__module__ == "__main__" or "<locals>" in defined.__qualname__:
            value = _pickled(defined)
        elif not file and _spec(defined.__module__) is None:
            value = _pickled(defined, module)
        return cls(defined.__module__, defined.__qualname__, file, path, value)

    @classmethod
    def by_value(cls, defined: type) -> ClassSource:
        """Describe a class for a machine that may not have its module's file. Raises as ``of`` does."""
        module = sys.modules.get(defined.__module__)
        value = _pickled(defined, None if defined.__module__ == "__main__" else module)
        return cls(defined.__module__, defined.__qualname__, "", [], value)

    def load(self) -> Any:
        """Return the class, in the process that was handed this; its ``sys.path`` begins with ``path`` then.

        Raises what importing the class's module raises.
        """
        sys.path[:] = [*self.path, *(entry for entry in sys.path if entry not in self.path)]
        if self.value:
            return pickle.loads(base64.b64decode(self.value))
        return reduce(getattr, self.qualname.split("."), self._module())

    def _module(self) -> Any:
        spec = _spec(self.module)
        if spec is not None and (not self.file or Path(spec.origin or "").resolve() == Path(self.file)):
            return importlib.import_module(self.module)
        # A --plugin-file, or a test file imported by its path: no import finds it by its name.
        spec = importlib.util.spec_from_file_location(self.module, self.file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{self.file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = module
        spec.loader.exec_module(module)
        return module


def _spec(module: str) -> Any:
    """Return what an import of the module's name finds; None if it finds nothing."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent that is no package, or a module without a spec
        return None


def _pickled(defined: type, module: ModuleType | None = None) -> str:
    """Pickle a class by value, and with it all of a module that it refers to."""
    import cloudpickle

    try:
        if module is not None:
            cloudpickle.register_pickle_by_value(module)
        return base64.b64encode(cloudpickle.dumps(defined)).decode()
    except Exception as error:  # pickling fails with whatever type the object that refuses it chose
        raise InputError(
            f"{defined.__qualname__} cannot be sent to another process ({type(error).__name__}: {error}); "
            "define it at the top of a module"
        ) from error
    finally:
        if module is not None:
            cloudpickle.unregister_pickle_by_value(module)
