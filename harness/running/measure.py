"""What a task costs: seconds and peak memory."""

from __future__ import annotations

import threading
import time
from types import TracebackType


class Meter:
    """Measures wall time and the peak resident memory of this process while it is entered.

    Memory is sampled every 50 ms, since the kernel's own high-water mark cannot be set back between
    tasks everywhere; a shorter peak can be missed.
    """

    _EVERY = 0.05

    def __enter__(self) -> Meter:
        import psutil

        self._process = psutil.Process()
        self.peak_bytes: int = self._process.memory_info().rss
        self.seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="harness-meter")
        self._thread.start()
        self._began = time.perf_counter()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(self._EVERY):
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self._stop.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
