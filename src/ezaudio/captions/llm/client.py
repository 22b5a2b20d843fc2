"""Questions to a server that speaks the OpenAI protocol: many at once, within its limits and the
budget, each answer kept as it comes.

What fails for now is repeated by `AsyncOpenAI`, with growing pauses or after the time that the
server asks for; an answer that may not become a caption is asked for again here.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ezaudio.captions.base import Allowance, Attempt, StoredAnswer
from ezaudio.captions.llm.answers import AnswerStore
from ezaudio.captions.llm.limits import Budget, Pace, retry_after_s
from ezaudio.captions.llm.replies import Reply, reply_of, reply_of_error
from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.validation import Rules
from ezaudio.errors import AudioFileError, EzAudioError

_AUDIO_HZ = 16_000
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 8
_AUDIO_TOKENS_PER_SECOND = 25
_UNREACHED = 3
"""Failed requests that are enough to give up a server that has never answered."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked about one clip.

    Attributes:
        clip_id: the clip.
        system, user: the two parts of the message.
        audio: file that goes with it; empty for none.
        heard_s: most seconds of it, from its start.
    """

    clip_id: str
    system: str
    user: str
    audio: str = ""
    heard_s: float = 0.0

    def tokens(self) -> int:
        """Guess the tokens: four characters each, and 25 for a second of audio."""
        text = (len(self.system) + len(self.user)) // _CHARACTERS_PER_TOKEN
        heard_s = self.heard_s if self.audio else 0.0
        return text + 2 * _TOKENS_PER_MESSAGE + round(heard_s * _AUDIO_TOKENS_PER_SECOND)

    def messages(self) -> list[Any]:
        """The messages as the protocol has them; audio goes as WAV at 16 kHz.

        Raises:
            AudioFileError: the audio cannot be read.
        """
        content: Any = self.user
        if self.audio:
            from ezaudio.audio import encode_audio, read_audio

            clip = read_audio(self.audio, _AUDIO_HZ)
            samples = clip.samples[: max(1, round(self.heard_s * _AUDIO_HZ))]
            data = base64.b64encode(encode_audio(samples, _AUDIO_HZ, format="wav")).decode()
            sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
            content = [{"type": "text", "text": self.user}, sound]
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


@dataclass(slots=True)
class _Call:
    """A request under way: what it may cost at most, and how often it was sent."""

    tokens: int
    highest_cost: float
    sent: int = 0


class ChatClient:
    """A server, and how it has done so far. It is used for one chunk of clips at a time.

    Args:
        chat: the server.
        rules: what an answer has to obey.
    """

    def __init__(self, chat: ChatSettings, rules: Rules) -> None:
        self._chat, self._rules = chat, rules
        self._pace = Pace(chat.requests_per_minute, chat.tokens_per_minute)
        self._reached = False
        self._failed_in_a_row = 0

    async def ask(
        self, requests: Mapping[str, tuple[ChatRequest, StoredAnswer]], allowance: Allowance
    ) -> dict[str, StoredAnswer]:
        """Ask about every clip of a chunk.

        Args:
            requests: by their keys, each with what came of it in earlier runs.
            allowance: where answers are kept, and what may be spent.

        Raises:
            EzAudioError: the server refuses the key or the model, or fails too often in a row.
        """
        self._slots = asyncio.Semaphore(self._chat.concurrency)
        self._budget = Budget(allowance.most_requests, allowance.most_cost)
        self._calls: dict[str, _Call] = {}
        self._answers = AnswerStore(allowance.answers)
        try:
            async with _open_ai(self._chat, self._before, self._after) as self._openai:
                tasks = {
                    key: asyncio.create_task(self._answer(key, request, list(known.failures)))
                    for key, (request, known) in requests.items()
                }
                await self._finish(tasks.values())
                return {key: task.result() for key, task in tasks.items()}
        finally:
            self._answers.close()

    async def _finish(self, tasks: Collection[asyncio.Task[StoredAnswer]]) -> None:
        """Wait for all; after an error or Ctrl-C only for requests that are under way, since they
        have been paid for.
        """
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await self._budget.stop()
            _, late = await asyncio.wait(tasks, timeout=2 * self._chat.timeout_s)
            for task in late:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _answer(
        self, key: str, request: ChatRequest, failures: list[Attempt]
    ) -> StoredAnswer:
        """Ask about one clip until an answer may be a caption, or no try is left."""
        tries = failures[-1].number if failures else 0
        kind = "refused"
        while tries < self._chat.most_tries and kind != "never":
            async with self._slots:
                try:
                    messages = await asyncio.to_thread(request.messages)
                except AudioFileError as error:
                    return StoredAnswer(None, (*failures, Attempt("unreadable audio", str(error))))
                reply, sent = await self._try(f"{key}-{tries + 1}", request, messages, tries)
            if reply is None:
                return StoredAnswer(None, tuple(failures), finished=False)
            kind, tries = reply.kind, tries + sent
            if kind == "answer":
                created = self._answers.keep(key, reply.text, reply.model)
                return StoredAnswer(reply.text, tuple(failures), reply.model, created)
            failures.append(Attempt(reply.reason, reply.text, tries))
            if kind != "failed":
                self._answers.refuse(key, failures[-1])
        # A server that failed may answer in another run; what it refused it would refuse again.
        created = 0.0 if kind == "failed" else self._answers.keep(key, None)
        return StoredAnswer(None, tuple(failures), created=created)

    async def _try(
        self, name: str, request: ChatRequest, messages: list[Any], tries: int
    ) -> tuple[Reply | None, int]:
        """Send a request, again when the server fails; give what came, and how many were sent.

        Raises:
            EzAudioError: the server has to be given up.
        """
        price_in, price_out = self._chat.prices()
        tokens = request.tokens()
        call = _Call(tokens, tokens * price_in + self._chat.top_answer_tokens * price_out)
        wanted = max(1, min(self._chat.most_tries - tries, self._patience()))
        granted = await self._budget.take(wanted, call.highest_cost)
        if not granted:
            return None, 0
        self._calls[name] = call
        try:
            answer = await self._openai.with_options(
                max_retries=granted - 1
            ).chat.completions.create(
                model=self._chat.model,
                messages=messages,
                temperature=self._chat.temperature,
                max_tokens=self._chat.top_answer_tokens,
                extra_headers={"Idempotency-Key": name},
            )
            reply = reply_of(answer, self._rules)
        except EzAudioError:  # the request could not be noted
            raise
        except Exception as error:  # whatever a server may have sent
            reply = reply_of_error(error)
        guessed = (tokens, 0) if reply.kind == "answer" else (0, 0)
        tokens_in, tokens_out = reply.tokens or guessed
        cost = tokens_in * price_in + tokens_out * price_out
        await self._budget.give_back(granted - max(1, call.sent), call.highest_cost - cost)
        self._answers.settle(name, cost)
        self._judge_server(reply, call.sent)
        return reply, max(1, call.sent)

    async def _before(self, request: Any) -> None:
        """Wait for a request's turn and note it; also for one that is repeated by `AsyncOpenAI`."""
        name = request.headers["Idempotency-Key"]
        call = self._calls[name]
        await self._pace.turn(call.tokens)
        call.sent += 1
        self._answers.sent(name, call.highest_cost)

    async def _after(self, response: Any) -> None:
        """Hold all requests where the server asks for it."""
        self._reached = True
        if (wait_s := retry_after_s(response.headers)) is not None and response.status_code >= 400:
            self._pace.hold(wait_s)
        # A body that trickles in never runs into the time limit of a single read.
        body = await asyncio.wait_for(response.aread(), self._chat.timeout_s)
        if response.status_code == 429 and b"insufficient_quota" in body:
            response.headers["x-should-retry"] = "false"

    def _patience(self) -> int:
        """Requests that may still fail; 0 when the server is to be given up."""
        most = self._chat.give_up_after
        return (most if self._reached else min(most, _UNREACHED)) - self._failed_in_a_row

    def _judge_server(self, reply: Reply, sent: int) -> None:
        """Give the server up where it refuses everything, or fails too often in a row."""
        self._failed_in_a_row = self._failed_in_a_row + sent if reply.unwell else 0
        if reply.kind == "fatal":
            raise EzAudioError(f"{reply.reason}: {reply.text}")
        if self._patience() <= 0:
            often = f"{self._failed_in_a_row} requests in a row failed"
            raise EzAudioError(f"{often}, the last with {reply.reason}: {reply.text}")


def _open_ai(chat: ChatSettings, before: Any, after: Any) -> Any:
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError:
        raise EzAudioError(
            'language models need the package openai: pip install "ezaudio[captions]" brings it'
        ) from None
    hooks = {"request": [before], "response": [after]}
    return AsyncOpenAI(
        api_key=os.environ.get(chat.api_key_env) or "none",
        base_url=chat.base_url,
        timeout=chat.timeout_s,
        http_client=DefaultAsyncHttpxClient(event_hooks=hooks),
    )
