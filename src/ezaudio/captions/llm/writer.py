"""The writer of all sources whose captions come from a language model behind a server: a source
only says what fills its prompt for a clip.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, TypeVar

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome, StoredAnswer
from ezaudio.captions.llm.client import ChatClient, ChatRequest
from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import Item, digest
from ezaudio.captions.validation import Rules
from ezaudio.checkpoints import sha256_file
from ezaudio.errors import CheckpointError

_USUAL_ANSWER_TOKENS = 35

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Question:
    """What a source asks about one clip.

    Attributes:
        fields: fill the prompt's placeholders.
        audio: file to listen to; empty for none.
        heard_s: most seconds of it, from its start.
    """

    fields: Mapping[str, str]
    audio: str = ""
    heard_s: float = 0.0


Ask = Callable[[Item], Question | None]


class LanguageModelWriter:
    """Asks a server about each clip.

    Args:
        chat: the server.
        prompt: what is asked.
        rules: what an answer has to obey.
        ask: gives the question about a clip; None where there is nothing to ask about.
    """

    def __init__(self, chat: ChatSettings, prompt: Prompt, rules: Rules, ask: Ask) -> None:
        self.model = chat.model
        self.prompt_hash = prompt.hash
        self.chat = chat
        self._prompt, self._rules, self._ask = prompt, rules, ask
        self._client = ChatClient(chat, rules)

    def request(self, item: Item) -> ChatRequest | None:
        """Make the request about a clip; None where there is nothing to ask about."""
        question = self._ask(item)
        if question is None:
            return None
        system, user = self._prompt.filled(question.fields)
        return ChatRequest(item.clip_id, system, user, question.audio, question.heard_s)

    def key(self, request: ChatRequest) -> str:
        """Name a request by its content: the words, and what the sound file holds."""
        sound = _sound_digest(request.audio) if request.audio else ""
        content = (request.system, request.user, sound, request.heard_s)
        rules = self._rules.model_dump()
        return digest(self.model, self._prompt.hash, rules, request.clip_id, content)

    def keys(self, items: Sequence[Item]) -> list[str]:
        """One key a clip; a clip that cannot be asked about has an empty one."""
        return ["" if (r := self.request(item)) is None else self.key(r) for item in items]

    def estimate(self, request: ChatRequest) -> tuple[int, float]:
        """Guess the tokens and the cost of a request, if its first answer is taken."""
        tokens = request.tokens()
        price_in, price_out = self.chat.prices()
        return tokens + _USUAL_ANSWER_TOKENS, tokens * price_in + _USUAL_ANSWER_TOKENS * price_out

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """Ask about each clip that has no answer yet.

        Raises:
            InputError: a key is needed and not there.
            EzAudioError: the server refuses the key or the model, or fails too often in a row.
        """
        requests = [self.request(item) for item in items]
        keys = ["" if request is None else self.key(request) for request in requests]
        answers = {
            key: allowance.known.get(key, StoredAnswer(None, finished=False)) for key in keys
        }
        waiting = {
            key: (request, answers[key])
            for key, request in zip(keys, requests, strict=True)
            if request is not None and not answers[key].finished
        }
        if waiting:
            self.chat.require_key()
            answers |= _run(self._client.ask(waiting, allowance))
        return [
            _outcome(answers[key])
            if key
            else ClipOutcome(failures=(Attempt("nothing to ask about"),))
            for key in keys
        ]

    def close(self) -> None:
        """Nothing is held between chunks."""


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine; in a thread of its own where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _outcome(answer: StoredAnswer) -> ClipOutcome:
    if not answer.finished:
        return ClipOutcome(failures=answer.failures, finished=False)
    created = datetime.fromtimestamp(answer.created, timezone.utc) if answer.created else None
    captions = () if answer.text is None else (answer.text,)
    return ClipOutcome(captions, answer.failures, created=created)


def _sound_digest(path: str) -> str:
    """Hash a sound file; empty where it cannot be read, which is said when it is sent."""
    try:
        stat = os.stat(path)
        return _sha256(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, CheckpointError):
        return ""


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    return sha256_file(path)
