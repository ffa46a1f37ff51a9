"""Images that are opened when they are asked for, and decoded ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.data.columns import rows_at
from harness.data.images import EncodedImage
from harness.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.plugin import ImageSource


class LazyImages:
    """A sequence of images that are opened when they are asked for.

    Parameters
    ----------
    sources
        Where each image comes from.
    digests
        Content hash of each source.
    workers
        Threads that decode ahead in ``batches``. Threads, not processes: Pillow decodes and resizes
        outside the interpreter lock, nothing needs pickling, errors arrive as they were raised, and
        it works inside a worker process of any executor.
    refused
        Takes the name of each image that cannot be read, and what its reader raised.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        digests: Sequence[str],
        workers: int = 1,
        refused: list[tuple[str, BaseException]] | None = None,
    ) -> None:
        if len(sources) != len(digests):
            raise ValueError(f"{len(sources)} sources but {len(digests)} digests")
        self._sources = sources
        self._digests = digests
        self._workers = max(1, workers)
        self._refused = refused

    @property
    def digests(self) -> Sequence[str]:
        """Content hash of each image."""
        return self._digests

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Image:
        return self._open(self._sources[index])

    def _open(self, source: ImageSource, least: int | None = None) -> Image:
        try:
            if least and isinstance(source, EncodedImage):
                return source.open_small(least)
            return source.open()
        except InputError as error:
            if self._refused is not None:
                self._refused.append((source.name, error))
            raise

    def take(self, indices: Sequence[int]) -> LazyImages:
        """Return the images at ``indices``, in that order, still lazy."""
        sources, digests = rows_at(self._sources, indices), rows_at(self._digests, indices)
        return LazyImages(sources, digests, self._workers, self._refused)

    def batches(self, transform: Callable[[Image], Any], batch_size: int) -> Iterator[list[Any]]:
        """Yield lists of ``transform(image)``, in order; see ``harness.plugin.Images``.

        It keeps at most two batches in memory beside the one in use.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if len(self) == 0:
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="harness-images") as pool:
            sources = iter(self._sources)
            waiting: deque[Future[Any]] = deque()

            def submit(count: int) -> None:
                waiting.extend(pool.submit(self._load, source, transform) for source in islice(sources, count))

            submit(2 * batch_size)
            try:
                while waiting:
                    batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
                    submit(batch_size)
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _load(self, source: ImageSource, transform: Callable[[Image], Any]) -> Any:
        return transform(self._open(source, getattr(transform, "least_side", None)))
