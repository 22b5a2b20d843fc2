from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from ezaudio.captions.llm import limits
from ezaudio.captions.llm.limits import Budget, Pace, retry_after_s


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(limits, "asyncio", SimpleNamespace(sleep=self.sleep))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def spent(self, work: Coroutine[None, None, None]) -> float:
        """Seconds that a coroutine sleeps."""
        before = self.now
        with pytest.raises(StopIteration):
            work.send(None)
        return self.now - before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_requests_and_tokens_are_spread_over_the_minute(clock: Clock) -> None:
    requests = Pace(120, None)
    assert [clock.spent(requests.turn(50)) for _ in range(3)] == [0.0, 0.5, 0.5]
    tokens = Pace(None, 6000)
    assert [clock.spent(tokens.turn(50)) for _ in range(3)] == [0.0, 0.5, 0.5]
    unlimited = Pace(None, None)
    assert [clock.spent(unlimited.turn(50)) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_server_that_asks_to_wait_holds_the_next_request_for_an_hour_at_most(
    clock: Clock,
) -> None:
    pace = Pace(None, None)
    pace.hold(7.0)
    pace.hold(2.0)
    assert clock.spent(pace.turn(1)) == 7.0
    assert clock.spent(pace.turn(1)) == 0.0
    pace.hold(1e9)
    assert clock.spent(pace.turn(1)) == 3600.0


def test_a_wish_to_wait_is_read_in_seconds_and_as_a_date() -> None:
    assert retry_after_s({"retry-after": "3"}) == 3.0
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "3"}) == 0.25
    assert retry_after_s({"retry-after": "-1"}) == 0.0
    told = retry_after_s({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert told is not None and 90 < told <= 100
    for headers in ({}, {"retry-after": "soon"}, {"retry-after-ms": "x"}):
        assert retry_after_s(headers) is None


def test_what_is_set_aside_and_not_used_is_for_those_who_wait() -> None:
    async def scene() -> list[int]:
        budget = Budget(4, 1.0)
        first = await budget.take(3, 0.8)
        waits = asyncio.create_task(budget.take(3, 0.8))
        await asyncio.sleep(0)
        assert not waits.done()  # 0.2 are left, but the first may cost less
        await budget.give_back(first - 1, 0.8 - 0.1)
        second = await waits
        await budget.give_back(second - 1, 0.8 - 0.1)
        third = await budget.take(3, 0.9)  # more than is left, and nobody will give back
        return [first, second, third]

    assert asyncio.run(scene()) == [3, 3, 0]


def test_a_budget_that_is_stopped_sends_away_those_who_wait() -> None:
    async def scene() -> list[int]:
        budget = Budget(1, None)
        granted = await budget.take(1, 0.0)
        waits = asyncio.create_task(budget.take(1, 0.0))
        await asyncio.sleep(0)
        await budget.stop()
        return [granted, await waits, await budget.take(1, 0.0)]

    assert asyncio.run(scene()) == [1, 0, 0]
