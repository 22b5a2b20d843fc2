"""How fast and how much may be asked: rate limits, pauses after failures, budgets."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import time
from collections.abc import Mapping

_LONGEST_HOLD_S = 3600.0
_LOOK_AGAIN_S = 0.02


class Pace:
    """Spreads requests and tokens over the minute; a server's wish to wait holds everybody.

    Args:
        requests_per_minute, tokens_per_minute: None for no limit.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._seconds_a_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_a_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_token = self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody go for a while."""
        self._held_until = max(self._held_until, time.monotonic() + min(seconds, _LONGEST_HOLD_S))

    def wait_s(self) -> float:
        """Seconds until the next request may go."""
        start = max(self._next_request, self._next_token, self._held_until)
        return start - time.monotonic()

    def go(self, tokens: int) -> None:
        """Note that a request goes now."""
        now = time.monotonic()
        self._next_request = max(self._next_request, now) + self._seconds_a_request
        self._next_token = max(self._next_token, now) + self._seconds_a_token * tokens


class Lease:
    """What may still be spent on a chunk.

    Args:
        requests: None for any number.
        cost: None for any amount.
    """

    def __init__(self, requests: int | None, cost: float | None) -> None:
        self._requests, self._cost = requests, cost
        self._under_way = 0

    async def take(self, cost: float) -> bool:
        """Set aside what a request may cost at most; False when there is not enough left."""
        while self._requests is None or self._requests > 0:
            if self._cost is None or cost <= self._cost + 1e-12:
                self._requests = None if self._requests is None else self._requests - 1
                self._cost = None if self._cost is None else self._cost - cost
                self._under_way += 1
                return True
            if self._under_way == 0:
                return False
            await asyncio.sleep(
                _LOOK_AGAIN_S
            )  # requests under way may cost less than was set aside
        return False

    def give_back(self, aside: float, cost: float) -> None:
        """Say what a request really cost."""
        self._under_way -= 1
        if self._cost is not None:
            self._cost += aside - cost


def backoff_s(key: str, attempt: int, first_s: float, longest_s: float) -> float:
    """Pause after a failed try: doubled each time, spread by up to half so that clients part.

    Args:
        key: of the request; the spread follows from it.
        attempt: 1 after the first try.
        first_s: pause after the first try.
        longest_s: no pause is longer.
    """
    spread = hashlib.sha256(f"{key}{attempt}".encode()).digest()[0] / 255
    return min(longest_s, first_s * 2.0 ** min(attempt - 1, 30)) * (0.75 + 0.5 * spread)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read a server's wish to wait, in seconds or as a date; None when it has none."""
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
