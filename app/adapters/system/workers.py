"""Threads for blocking work: one lane does one thing at a time, lanes do not wait for each other."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.domain.events import Event

Work = Callable[[], Sequence[Event]]

#: kinds of lanes (what stands before the first dash) and how many of a kind may block at once
_THREADS = {"vm": 16, "destroy": 8, "fence": 8}


class ThreadWorkers:
    """`put` receives each event. A kind of lane has threads of its own: hung starts cannot hold up a destroy."""

    def __init__(self, put: Callable[[Sequence[Event]], None]) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._waiting: dict[str, deque[Work]] = {}
        self._closed = False

    def submit(self, lane: str, work: Work) -> None:
        """Queue it in its lane; never blocks."""
        with self._lock:
            if self._closed:
                return
            queue = self._waiting.get(lane)
            if queue is not None:
                queue.append(work)
                return
            self._waiting[lane] = deque([work])
            self._pool(lane).submit(self._drain, lane)

    def close(self) -> None:
        """Take no more work; what runs now is not waited for."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, lane: str) -> ThreadPoolExecutor:
        kind = lane.split("-", maxsplit=1)[0]
        if kind not in self._pools:
            self._pools[kind] = ThreadPoolExecutor(_THREADS.get(kind, 1), thread_name_prefix=f"holdfast-{kind}")
        return self._pools[kind]

    def _drain(self, lane: str) -> None:
        while True:
            with self._lock:
                queue = self._waiting[lane]
                if not queue or self._closed:
                    del self._waiting[lane]
                    return
                work = queue.popleft()
            self._put(work())
