"""The courier's other end: sends requests, checks and notes answers; run as a process of its own.

    python -m ezaudio.captions.dispatch

reads lines of JSON from its input: the settings, then for each chunk `open`, `ask` ..., `close`. It
answers with a line for each request. When its input ends before a `close`, its run is gone: nothing
more is sent, and it ends when the requests under way are noted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ezaudio.captions.asking import ChatSettings, tokens_of
from ezaudio.captions.courier import Request
from ezaudio.captions.journal import Journal
from ezaudio.captions.pacing import Lease, Pace, backoff_s
from ezaudio.captions.server import NO_CONNECTION, Reply, Server
from ezaudio.captions.validation import Rules, check
from ezaudio.captions.writer import Attempt
from ezaudio.errors import EzAudioError

_UNREACHED = 5
"""Failed connections that are enough to give up a server that was never reached."""


class Dispatch:
    """Carries the requests of one chunk after another.

    Args:
        chat: the server.
        rules: what an answer has to obey.
    """

    def __init__(self, chat: ChatSettings, rules: Rules) -> None:
        self._chat, self._rules = chat, rules
        self._server = Server(chat)
        self._pace = Pace(chat.requests_per_minute, chat.tokens_per_minute)
        self._slots = asyncio.Semaphore(chat.concurrency)
        self._stopped = asyncio.Event()
        self._unwell = 0
        self._reached = False
        self._lease = Lease(None, None)
        self._journal: Journal | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self, messages: asyncio.Queue[dict[str, Any] | None]) -> None:
        """Do what the messages say until there are no more."""
        while (message := await messages.get()) is not None:
            if "open" in message:
                self._journal = await asyncio.to_thread(Journal, Path(message["open"]))
                self._lease = Lease(message["requests"], message["cost"])
                _say(opened=True)
            elif "ask" in message:
                request = Request(**message["ask"])
                failures = [Attempt(**attempt) for attempt in message["failures"]]
                self._tasks.append(asyncio.create_task(self._carry(request, failures)))
            elif "close" in message:
                await self._finish()
                _say(closed=True)
        await self._finish()

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for."""
        self._stopped.set()

    async def _finish(self) -> None:
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        self._tasks = []
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def _carry(self, request: Request, failures: list[Attempt]) -> None:
        """Try until there is an answer, or no try is left; a line that was down in an earlier run
        has used up none.
        """
        assert self._journal is not None
        free = sum(attempt.reason == NO_CONNECTION for attempt in failures)
        while len(failures) - free < self._chat.most_tries:
            attempt = len(failures) + 1
            reply = await self._try(request, attempt)
            if reply is None:
                return _tell(request, None, failures, finished=False)
            if reply.kind == "answer":
                return _tell(request, reply, failures)
            failures.append(Attempt(reply.reason, reply.detail, attempt))
            if reply.kind == "never":
                break
            chat = self._chat
            pause = backoff_s(request.key, attempt, chat.backoff_s, chat.longest_backoff_s)
            await _wait(self._stopped, 0.0 if reply.wait_s is not None else pause)
        self._journal.note(key=request.key, event="answered", text=None)
        _tell(request, None, failures)

    async def _try(self, request: Request, attempt: int) -> Reply | None:
        """Send once and note what came; None when nothing more may be sent."""
        price_in, price_out = self._chat.prices()
        tokens = tokens_of(request)
        aside = tokens * price_in + self._chat.top_answer_tokens * price_out
        async with self._slots:
            while not self._stopped.is_set() and (wait_s := self._pace.wait_s()) > 0:
                await _wait(self._stopped, wait_s)
            if self._stopped.is_set() or not await self._lease.take(aside):
                return None
            self._pace.go(tokens)
            assert self._journal is not None
            self._journal.note(key=request.key, event="sent", attempt=attempt)
            reply = await self._server.ask(request, attempt)
        return self._noted(request, attempt, _judged(reply, self._rules), aside)

    def _noted(self, request: Request, attempt: int, reply: Reply, aside: float) -> Reply | None:
        cost = _cost(request, reply, self._chat)
        self._lease.give_back(aside, cost)
        self._unwell = self._unwell + 1 if reply.unwell else 0
        if reply.wait_s is not None:
            self._pace.hold(reply.wait_s)
        assert self._journal is not None
        note = {"key": request.key, "attempt": attempt, "cost": cost}
        if reply.kind == "fatal":
            self._journal.note(event="stopped", **note)
            self._stop(f"{reply.reason}: {reply.detail}")
            return None
        if reply.kind == "answer":
            self._journal.note(event="answered", text=reply.text, model=reply.model, **note)
            return reply
        self._journal.note(event="failed", reason=reply.reason, detail=reply.detail, **note)
        self._reached = self._reached or reply.reason != NO_CONNECTION
        patience = self._chat.give_up_after
        if self._unwell >= (patience if self._reached else min(patience, _UNREACHED)):
            times = f"{self._unwell} requests in a row failed"
            self._stop(f"{times}, the last with {reply.reason}: {reply.detail}")
        return reply

    def _stop(self, message: str) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            _say(fatal=message)


async def _wait(stopped: asyncio.Event, seconds: float) -> None:
    """Wait, but not when nothing more may be sent."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stopped.wait(), max(0.0, seconds))


def _judged(reply: Reply, rules: Rules) -> Reply:
    """Refuse an answer that may not become a caption."""
    if reply.kind != "answer":
        return reply
    text, reason = check(reply.text, rules)
    if reason:
        return Reply(reason=reason, detail=text[:200], kind="again", tokens=reply.tokens)
    return Reply(text, tokens=reply.tokens, model=reply.model)


def _cost(request: Request, reply: Reply, chat: ChatSettings) -> float:
    """What a reply costs; tokens are guessed where a server does not count."""
    price_in, price_out = chat.prices()
    guessed = (tokens_of(request), 0) if reply.kind == "answer" else (0, 0)
    tokens_in, tokens_out = reply.tokens or guessed
    return tokens_in * price_in + tokens_out * price_out


def _tell(
    request: Request, reply: Reply | None, failures: list[Attempt], *, finished: bool = True
) -> None:
    _say(
        key=request.key,
        text=None if reply is None else reply.text,
        failures=[asdict(attempt) for attempt in failures],
        model="" if reply is None else reply.model,
        created=round(time.time(), 3),
        finished=finished,
    )


def _say(**message: Any) -> None:
    """Write a line; when nobody reads any more, the journal is what counts."""
    with suppress(OSError):
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
        sys.stdout.buffer.flush()


class Input:
    """Reads messages in a thread; its end is known at once, whatever still waits to be done."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self._loop.call_soon_threadsafe(self.messages.put_nowait, json.loads(line))
        self._loop.call_soon_threadsafe(self.ended.set)
        self._loop.call_soon_threadsafe(self.messages.put_nowait, None)


async def _main() -> None:
    source = Input()
    settings = await source.messages.get()
    if settings is None:
        return
    try:
        chat, rules = ChatSettings(**settings["chat"]), Rules(**settings["rules"])
        dispatch = Dispatch(chat, rules)
        ending = asyncio.create_task(_stop_at_end(source, dispatch))
        await dispatch.serve(source.messages)
        ending.cancel()
    except EzAudioError as error:
        _say(fatal=str(error))


async def _stop_at_end(source: Input, dispatch: Dispatch) -> None:
    await source.ended.wait()
    dispatch.stop()


if __name__ == "__main__":
    asyncio.run(_main())
    os._exit(0)  # a thread that waits for more input must not keep the process
