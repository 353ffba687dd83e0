"""Nobody starves: a bounded number of requests is answered at a time, and users take turns for the places.

In the manner of upstream's API priority and fairness, by user: whoever asks for much waits behind himself. Who waits
too long, or has too many waiting, is told to come back later (429). Watches and streams do not take a place; they
are counted apart, in all and for each user.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator

from minipod.api.errors import StatusError, too_many_requests

SEATS = 64
QUEUE_LIMIT = 500  # requests of one user that wait
PATIENCE = 15.0  # seconds that a request waits, a quarter of what it may take
_LATER = "too many requests, please try again later"


class FairQueue:
    """Places for requests, given in turn to the users that wait. `on_reject` is told why somebody was sent away."""

    def __init__(
        self,
        seats: int = SEATS,
        queue_limit: int = QUEUE_LIMIT,
        patience: float = PATIENCE,
        on_reject: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._free = seats
        self._queue_limit = queue_limit
        self._patience = patience
        self._on_reject = on_reject
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @contextlib.asynccontextmanager
    async def seat(self, user: str) -> AsyncIterator[None]:
        """Hold a place. Raises TooManyRequests."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, user: str) -> None:
        queue = self._waiting.setdefault(user, deque())
        if len(queue) >= self._queue_limit:
            raise self._rejected("queue-full")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._release()  # the place came in the moment that nobody waited any more
            self._forget(user, turn)
            if isinstance(error, TimeoutError):
                raise self._rejected("time-out") from None
            raise

    def _release(self) -> None:
        """Give the place to the next user in turn, or keep it free."""
        while self._waiting:
            user, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[user] = queue  # behind everybody else
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, user: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(user)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove(turn)
            if not queue:
                del self._waiting[user]

    def _rejected(self, reason: str) -> StatusError:
        self._on_reject(reason)
        return too_many_requests(_LATER)


class LongRunning:
    """Counts what lasts: `limit` in all, and four fifths of it for one user."""

    def __init__(
        self, what: str, limit: int, on_reject: Callable[[str], None] = lambda _: None
    ) -> None:
        self._what = what
        self._limit = limit
        self._on_reject = on_reject
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """Count one in while it lasts. Raises TooManyRequests."""
        if self._held.total() >= self._limit:
            self._on_reject(f"{self._what}-limit")
            raise too_many_requests(f"{self._limit} {self._what} are open, which is the limit")
        share = self._limit - self._limit // 5
        if self._held[user] >= share:
            self._on_reject(f"{self._what}-limit")
            raise too_many_requests(
                f'user "{user}" has {share} {self._what} open, which is the limit for one user'
            )
        self._held[user] += 1
        try:
            yield
        finally:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]
