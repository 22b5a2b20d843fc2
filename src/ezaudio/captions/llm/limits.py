"""How fast and how much may be asked: rate limits, a server's wish to wait, the budget."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Mapping

_LONGEST_HOLD_S = 3600.0


class Pace:
    """Spreads requests and tokens over the minute; a server's Retry-After holds all requests.

    Args:
        requests_per_minute, tokens_per_minute: None for no limit.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._seconds_per_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_token = self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Send nothing for that time."""
        self._held_until = max(self._held_until, time.monotonic() + min(seconds, _LONGEST_HOLD_S))

    async def turn(self, tokens: int) -> None:
        """Wait until a request of so many tokens may be sent."""
        now = time.monotonic()
        start = max(now, self._next_request, self._next_token)
        self._next_request = start + self._seconds_per_request
        self._next_token = start + self._seconds_per_token * tokens
        await asyncio.sleep(start - now)
        while (wait_s := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)


class Budget:
    """What may still be spent on a chunk. What a request may cost at most is set aside before it
    is sent, so that requests under way at once do not exceed the budget together.

    Args:
        requests: None for any number.
        cost: None for any amount.
    """

    def __init__(self, requests: int | None, cost: float | None) -> None:
        self._requests = float("inf") if requests is None else requests
        self._cost = float("inf") if cost is None else cost + 1e-12  # sums of floats may be short
        self._under_way = 0
        self._stopped = False
        self._changed = asyncio.Condition()

    async def take(self, requests: int, cost: float) -> int:
        """Set aside up to so many requests about one clip, of which one costs something.

        Returns:
            How many may be sent; 0 when the budget is used up, or was stopped.
        """
        async with self._changed:
            # Requests under way may cost less than was set aside for them.
            await self._changed.wait_for(
                lambda: self._stopped or self._covers(cost) or self._under_way == 0
            )
            if self._stopped or not self._covers(cost):
                return 0
            granted = int(min(requests, self._requests))
            self._requests -= granted
            self._cost -= cost
            self._under_way += 1
            return granted

    async def give_back(self, requests: int, cost: float) -> None:
        """Return what was set aside and not used."""
        async with self._changed:
            self._requests += requests
            self._cost += cost
            self._under_way -= 1
            self._changed.notify_all()

    async def stop(self) -> None:
        """Grant nothing more."""
        async with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _covers(self, cost: float) -> bool:
        return self._requests >= 1 and cost <= self._cost


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read a server's Retry-After, in seconds or as a date; None when it has none."""
    try:
        if (text := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(text) / 1000)
        if (text := headers.get("retry-after")) is None:
            return None
        try:
            return max(0.0, float(text))
        except ValueError:
            date = email.utils.parsedate_to_datetime(text)
            return max(0.0, date.timestamp() - time.time())
    except (ValueError, TypeError):
        return None
