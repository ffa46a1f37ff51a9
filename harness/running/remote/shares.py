"""How many workers a node has, and what of it each may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.running.executors import default_jobs


@dataclass(frozen=True)
class Node:
    """A machine of a cluster: what it calls itself, and what of it work may take."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: int


@dataclass(frozen=True)
class Share:
    """What one of several workers of a node may take: of its CPUs and GPUs, bytes of memory, and threads."""

    cpus: float
    gpus: float
    memory: int
    threads: int


def spread(nodes: Sequence[Node], jobs: int | None, most: int, memory: int, *, gpus: bool) -> dict[str, list[Share]]:
    """Say which workers each node has.

    Parameters
    ----------
    nodes
        The machines.
    jobs
        Workers altogether, as ``--jobs`` says. None: on each node one a GPU, or one a CPU if no node has any, as far
        as there is memory.
    most
        More than that are of no use: there are so few tasks.
    memory
        Bytes that a task needs; 0 if that is not known.
    gpus
        Whether tasks may use GPUs.

    Returns
    -------
    dict
        The workers of each node by its id; a node without any is left out.
    """
    gpus = gpus and any(node.gpus >= 1 for node in nodes)
    room = {node.id: _room(node, memory, gpus=gpus) for node in nodes}
    counts = dict.fromkeys(room, 0)
    wanted = min(sum(room.values()) if jobs is None else jobs, most)
    able = [node for node in nodes if room[node.id]]
    for _ in range(wanted if able else 0):
        fewest = min(able, key=lambda node: ((counts[node.id] + 1) / room[node.id], -room[node.id]))
        counts[fewest.id] += 1
    return {
        node.id: [_share(node, counts[node.id], memory, gpus=gpus)] * counts[node.id]
        for node in nodes
        if counts[node.id]
    }


def _room(node: Node, memory: int, *, gpus: bool) -> int:
    units = int(node.gpus if gpus else node.cpus)
    return default_jobs(units, node.memory, memory) if units else 0


def _share(node: Node, count: int, memory: int, *, gpus: bool) -> Share:
    return Share(
        cpus=_part(node.cpus, count),
        gpus=_part(node.gpus, count) if gpus else 0.0,
        memory=min(memory, node.memory // count),
        threads=max(int(node.cpus) // count, 1),
    )


def _part(whole: float, count: int) -> float:
    """Return an equal part, a whole number if it is more than one: engines count no GPU and a half."""
    part = whole / count
    return float(int(part)) if part >= 1 else int(part * 1000) / 1000
