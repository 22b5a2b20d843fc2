"""Captions from a language model behind a server that speaks the OpenAI protocol.

The settings of such a server, and the writer that all sources with one share: a source only says
what fills its prompt for a clip. Requests are carried by another process (`courier`), which
notes every answer before anybody hears of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, Field

from ezaudio.captions.courier import Courier, Request
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import Item, digest
from ezaudio.captions.validation import Rules
from ezaudio.captions.writer import Answer, Attempt, Bench, Outcome
from ezaudio.config import Config
from ezaudio.errors import InputError

PRICES: Mapping[str, tuple[float, float]] = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}
"""US dollars for a million tokens in and out, as published; `price_in` and `price_out` go first."""

_CHARACTERS_A_TOKEN = 4
_TOKENS_A_MESSAGE = 8
_AUDIO_TOKENS_A_SECOND = 25
_USUAL_ANSWER_TOKENS = 35


def _checked_address(text: str) -> str:
    if not re.match(r"https?://[^/\s]", text):
        raise ValueError("an address such as http://localhost:8000/v1")
    return text


Address = Annotated[str, AfterValidator(_checked_address)]


class ChatSettings(Config):
    """A server, its model, and how patiently it is asked.

    Attributes:
        model: name that the server knows.
        base_url: None for OpenAI's; `http://localhost:8000/v1` for a server of your own.
        api_key_env: environment variable that holds the key; a server of your own needs none.
        temperature, top_answer_tokens: of the answers.
        concurrency: requests under way at once.
        requests_per_minute, tokens_per_minute: limits to keep; None for none.
        timeout_s: for one request.
        most_tries: of one clip, counting failed requests and refused answers.
        backoff_s, longest_backoff_s: the first pause after a failure, doubled each time, and the
            longest; a server's Retry-After goes first.
        give_up_after: failed requests in a row, of whichever clip, that end the run.
        price_in, price_out: for a million tokens; None looks into the table, 0 for other servers.
    """

    model: str = "gpt-4o-mini"
    base_url: Address | None = None
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = Field(0.7, ge=0, le=2)
    top_answer_tokens: int = Field(120, ge=1)
    concurrency: int = Field(8, ge=1, le=1000)
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout_s: float = Field(60.0, gt=0)
    most_tries: int = Field(6, ge=1)
    backoff_s: float = Field(1.0, ge=0)
    longest_backoff_s: float = Field(60.0, ge=0)
    give_up_after: int = Field(50, ge=1)
    price_in: float | None = Field(None, ge=0)
    price_out: float | None = Field(None, ge=0)

    def prices(self) -> tuple[float, float]:
        """Price of one token in and one token out."""
        known = PRICES.get(self.model, (0.0, 0.0)) if self.base_url is None else (0.0, 0.0)
        price_in = known[0] if self.price_in is None else self.price_in
        price_out = known[1] if self.price_out is None else self.price_out
        return price_in / 1e6, price_out / 1e6

    def priced(self) -> bool:
        """False when nobody knows what a token costs."""
        return self.base_url is not None or self.price_in is not None or self.model in PRICES


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


class Asking:
    """Asks a server about each clip.

    Args:
        chat: the server.
        prompt: what is asked.
        rules: what an answer has to obey.
        ask: gives the question about a clip; None where there is nothing to ask about.

    Raises:
        InputError: a key is needed and not there.
    """

    def __init__(self, chat: ChatSettings, prompt: Prompt, rules: Rules, ask: Ask) -> None:
        self.model = chat.model
        self.prompt_hash = prompt.hash
        self._chat, self._prompt, self._rules, self._ask = chat, prompt, rules, ask
        self._courier: Courier | None = None
        if chat.base_url is None and not os.environ.get(chat.api_key_env):
            allowed = "a key in this environment variable, or a server of your own"
            raise InputError(chat.api_key_env, None, allowed)

    @property
    def priced(self) -> bool:
        """False when nobody knows what a token costs."""
        return self._chat.priced()

    @property
    def longest_request_s(self) -> float:
        """After that time nothing is under way any more."""
        return 2 * self._chat.timeout_s

    def keys(self, items: Sequence[Item]) -> list[str]:
        """One key a clip; a clip that cannot be asked about has an empty one."""
        return ["" if (r := self.request(item)) is None else r.key for item in items]

    def request(self, item: Item) -> Request | None:
        """Make the request about a clip."""
        question = self._ask(item)
        if question is None:
            return None
        system, user = self._prompt.filled(question.fields)
        content = (system, user, question.audio, question.heard_s)
        rules = self._rules.model_dump()
        key = digest(self.model, self._prompt.hash, rules, item.clip_id, content)
        return Request(key, system, user, question.audio, question.heard_s)

    def write(self, items: Sequence[Item], bench: Bench) -> list[Outcome]:
        """Ask about each clip that has no answer yet.

        Raises:
            EzAudioError: the server refuses the key or the model, or fails too often in a row.
        """
        requests = [self.request(item) for item in items]
        asked = {r.key: r for r in requests if r is not None}
        done = {k: a for k, a in bench.known.items() if a.finished and k in asked}
        wanted = [
            (request, bench.known[key].failures if key in bench.known else ())
            for key, request in asked.items()
            if key not in done
        ]
        if wanted:
            if self._courier is None:
                self._courier = Courier(self._chat, self._rules)
            done |= self._courier.carry(wanted, bench)
        return [
            Outcome(failures=(Attempt("nothing to ask about"),))
            if request is None
            else _outcome(done.get(request.key))
            for request in requests
        ]

    def close(self) -> None:
        """End the courier, after the requests that are under way."""
        if self._courier is not None:
            self._courier.close()
            self._courier = None

    def estimate(self, item: Item) -> tuple[int, float]:
        """Guess the tokens and the cost of one clip, if the first answer is taken."""
        request = self.request(item)
        if request is None:
            return 0, 0.0
        tokens = tokens_of(request)
        price_in, price_out = self._chat.prices()
        return tokens + _USUAL_ANSWER_TOKENS, tokens * price_in + _USUAL_ANSWER_TOKENS * price_out


def tokens_of(request: Request) -> int:
    """Guess the tokens of a request: four characters each, and 25 for a second of audio."""
    text = (len(request.system) + len(request.user)) // _CHARACTERS_A_TOKEN
    heard_s = request.heard_s if request.audio else 0.0
    return text + 2 * _TOKENS_A_MESSAGE + round(heard_s * _AUDIO_TOKENS_A_SECOND)


def _outcome(answer: Answer | None) -> Outcome:
    if answer is None or not answer.finished:
        return Outcome(finished=False)
    created = datetime.fromtimestamp(answer.created, timezone.utc)
    captions = () if answer.text is None else (answer.text,)
    return Outcome(captions, answer.failures, created=created)
