"""A Dask array that is computed once more, and not before something else is.

Where all chunks are looked at before the first one can be worked on, Dask would keep them all in
memory meanwhile. So they are computed twice: by tasks with other names, the second of which wait.
`dask.graph_manipulation` has `clone` and `bind` for that, which lose tasks of rechunked arrays
(dask 2026.8).
"""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

import dask.array as da
from dask._task_spec import DataNode, Task, TaskRef, convert_legacy_graph
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

Value = TypeVar("Value")


def again(x: da.Array, after: Delayed | None = None) -> da.Array:
    """The same array by tasks of its own.

    Arguments:
        x: what is computed. What of it is in memory already stays there.
        after: no task begins before this is there.
    """
    mark = uuid.uuid4().hex

    def renamed(key: Any) -> Any:
        return (f"{key[0]}-{mark}", *key[1:]) if isinstance(key, tuple) else f"{key}-{mark}"

    steps: Any = x.__dask_graph__()
    graph = convert_legacy_graph(dict(steps))
    names = {key: renamed(key) for key in graph}
    tasks: dict[Any, Any] = {}
    for key, node in graph.items():
        own = node.substitute(names, key=names[key])
        # A task that needs nothing but what is in memory is one of the first.
        first = all(isinstance(graph[needed], DataNode) for needed in node.dependencies)
        if after is not None and first and isinstance(own, Task):
            own = Task(names[key], _second, TaskRef(after.key), own)
        tasks[names[key]] = own
    name = renamed(x.name)
    waited_for: Any = [] if after is None else [after]
    layers = HighLevelGraph.from_collections(name, tasks, dependencies=waited_for)
    array: Any = da.Array
    return array(layers, name, x.chunks, meta=x._meta)


def _second(first: object, second: Value) -> Value:
    del first
    return second
