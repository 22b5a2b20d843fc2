"""The questions about one chunk of clips: asked at once within the limits, judged, and kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping

from ezaudio.captions.llm.answers import Answers
from ezaudio.captions.llm.client import ChatClient, Reply, Request
from ezaudio.captions.llm.limits import Budget, Pace, Patience
from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.validation import Rules, check
from ezaudio.captions.writer import Answer, Attempt
from ezaudio.errors import AudioFileError, EzAudioError


class Session:
    """Asks about the clips of one chunk.

    Args:
        chat: the server.
        rules: what an answer has to obey.
        pace, patience: of the server, over all chunks.
        answers: where answers are kept.
        budget: what may be spent on the chunk.
    """

    def __init__(
        self,
        chat: ChatSettings,
        rules: Rules,
        pace: Pace,
        patience: Patience,
        answers: Answers,
        budget: Budget,
    ) -> None:
        self._chat, self._rules, self._patience = chat, rules, patience
        self._answers, self._budget = answers, budget
        self._slots = asyncio.Semaphore(chat.concurrency)
        self._client = ChatClient(chat, pace, self._sending)
        self._highest_costs: dict[str, float] = {}
        self._sent: Counter[str] = Counter()

    async def ask(self, requests: Mapping[str, tuple[Request, Answer]]) -> dict[str, Answer]:
        """Ask about every clip.

        Args:
            requests: by their keys, each with what came of it in earlier runs.

        Raises:
            EzAudioError: the server refuses the key or the model, or fails too often in a row.
        """
        async with self._client:
            tasks = {
                key: asyncio.create_task(self._answer(key, request, list(known.failures)))
                for key, (request, known) in requests.items()
            }
            await self._finish(tasks.values())
            return {key: task.result() for key, task in tasks.items()}

    async def _finish(self, tasks: Collection[asyncio.Task[Answer]]) -> None:
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

    async def _answer(self, key: str, request: Request, failures: list[Attempt]) -> Answer:
        """Ask about one clip until an answer may be a caption, or no try is left."""
        tries = failures[-1].number if failures else 0
        kind = "refused"
        while tries < self._chat.most_tries and kind != "never":
            async with self._slots:
                try:
                    reply, used = await self._try(key, request, tries)
                except AudioFileError as error:
                    return Answer(None, (*failures, Attempt("unreadable audio", str(error))))
            if reply is None:
                return Answer(None, tuple(failures), finished=False)
            kind, tries = reply.kind, tries + used
            if kind == "answer":
                created = self._answers.keep(key, reply.text, reply.model)
                return Answer(reply.text, tuple(failures), reply.model, created)
            failures.append(Attempt(reply.reason, reply.detail, tries))
            if kind != "failed":
                self._answers.refuse(key, failures[-1])
        # A server that failed may answer in another run; what it refused it would refuse again.
        created = 0.0 if kind == "failed" else self._answers.keep(key, None)
        return Answer(None, tuple(failures), created=created)

    async def _try(self, key: str, request: Request, tries: int) -> tuple[Reply | None, int]:
        """Send a request, and again when the server fails; give what came and how many were sent.

        Raises:
            AudioFileError: the clip's sound cannot be read.
            EzAudioError: the server has to be given up.
        """
        messages = await asyncio.to_thread(request.messages)
        name = f"{key}-{tries + 1}"
        highest = self._highest_costs[name] = self._highest_cost(request)
        wanted = min(self._chat.most_tries - tries, self._patience.left)
        granted = await self._budget.take(max(1, wanted), highest)
        if not granted:
            return None, 0
        reply = await self._client.ask(name, request, messages, max_retries=granted - 1)
        used = max(1, self._sent.pop(name, 0))
        cost = self._cost(request, reply)
        await self._budget.give_back(granted - used, highest - cost)
        self._answers.settle(name, cost)
        self._judge_server(reply, used)
        if reply.kind == "answer":
            text, reason = check(reply.text, self._rules)
            if reason:
                return Reply("refused", reason=reason, detail=text[:200]), used
            return Reply("answer", text, model=reply.model), used
        return reply, used

    def _sending(self, name: str) -> None:
        self._sent[name] += 1
        self._answers.sent(name, self._highest_costs[name])

    def _highest_cost(self, request: Request) -> float:
        price_in, price_out = self._chat.prices()
        return request.tokens() * price_in + self._chat.top_answer_tokens * price_out

    def _cost(self, request: Request, reply: Reply) -> float:
        """What a reply costs; tokens are guessed where a server does not count."""
        price_in, price_out = self._chat.prices()
        guessed = (request.tokens(), 0) if reply.kind == "answer" else (0, 0)
        tokens_in, tokens_out = reply.tokens or guessed
        return tokens_in * price_in + tokens_out * price_out

    def _judge_server(self, reply: Reply, used: int) -> None:
        """Give the server up where it refuses everything, or fails too often in a row."""
        patience = self._patience
        patience.reached = patience.reached or self._client.heard
        patience.failed = patience.failed + used if reply.unwell else 0
        if reply.kind == "fatal":
            raise EzAudioError(f"{reply.reason}: {reply.detail}")
        if patience.left == 0:
            often = f"{patience.failed} requests in a row failed"
            raise EzAudioError(f"{often}, the last with {reply.reason}: {reply.detail}")
