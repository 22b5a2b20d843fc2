"""One question to a server that speaks the OpenAI protocol, and what may come of it.

A server can answer, fail for now, refuse for good, or send something that is no answer. Whatever it
is becomes a `Reply`; nothing that a server sends raises. What fails for now is repeated by
`AsyncOpenAI`, with growing pauses, or after the time that the server asks for.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ezaudio.captions.llm.limits import Pace, retry_after_s
from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.record import shortened
from ezaudio.errors import EzAudioError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_AUDIO_HZ = 16_000
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 8
_AUDIO_TOKENS_PER_SECOND = 25
_HOPELESS = {
    401: "refuses the API key",
    402: "wants to be paid",
    403: "refuses access",
    404: "does not know the model or the address",
}


@dataclass(frozen=True, slots=True)
class Request:
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

    def messages(self) -> list[dict[str, Any]]:
        """The messages as the protocol has them; audio goes as WAV at 16 kHz.

        Raises:
            EzAudioError: the audio cannot be read.
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


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question.

    Attributes:
        kind: `answer`; `refused`, an answer that is none: another try may do; `failed`, the server
            or the line to it; `never`, not for this clip; `fatal`, not for any clip.
        text: the answer; empty when there is none.
        reason: why there is none.
        detail: what came instead.
        tokens: in and out, as the server counts; None when it does not say.
        model: the model that the server says it used.
        unwell: the server or the line to it does not work; False where it only has too much to do.
    """

    kind: Literal["answer", "refused", "failed", "never", "fatal"]
    text: str = ""
    reason: str = ""
    detail: str = ""
    tokens: tuple[int, int] | None = None
    model: str = ""
    unwell: bool = False


class ChatClient:
    """A server as one event loop sees it; use it as an asynchronous context.

    Args:
        chat: the server.
        pace: each request waits for its turn there, also those that `AsyncOpenAI` repeats.
        sending: called with a request's name just before it is sent.

    Raises:
        EzAudioError: the package `openai` is not installed.
    """

    def __init__(self, chat: ChatSettings, pace: Pace, sending: Callable[[str], None]) -> None:
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError:
            raise EzAudioError(
                'language models need the package openai: pip install "ezaudio[captions]" brings it'
            ) from None
        self._chat, self._pace, self._sending = chat, pace, sending
        self._tokens: dict[str, int] = {}
        self.heard = False
        """True as soon as the server has sent anything."""
        hooks = {"request": [self._before], "response": [self._after]}
        self._client: AsyncOpenAI = AsyncOpenAI(
            api_key=os.environ.get(chat.api_key_env) or "none",
            base_url=chat.base_url,
            timeout=chat.timeout_s,
            http_client=DefaultAsyncHttpxClient(event_hooks=hooks),
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def ask(
        self, name: str, request: Request, messages: list[Any], *, max_retries: int
    ) -> Reply:
        """Send a question and wait for what comes.

        Args:
            name: of the request, its `Idempotency-Key`.
            request: for the tokens that it takes.
            messages: of the request.
            max_retries: how often it is repeated when the server or the line to it fails.
        """
        self._tokens[name] = request.tokens()
        try:
            answer = await self._client.with_options(
                max_retries=max_retries
            ).chat.completions.create(
                model=self._chat.model,
                messages=messages,
                temperature=self._chat.temperature,
                max_tokens=self._chat.top_answer_tokens,
                extra_headers={"Idempotency-Key": name},
            )
            return _read(answer)
        except EzAudioError:  # the request could not be noted
            raise
        except Exception as error:  # whatever a server may have sent
            return _failure(error)
        finally:
            del self._tokens[name]

    async def _before(self, request: Any) -> None:
        name = request.headers["Idempotency-Key"]
        await self._pace.turn(self._tokens[name])
        self._sending(name)

    async def _after(self, response: Any) -> None:
        self.heard = True
        if (wait_s := retry_after_s(response.headers)) is not None and response.status_code >= 400:
            self._pace.hold(wait_s)
        # A body that trickles in never runs into the time limit of a single read.
        body = await asyncio.wait_for(response.aread(), self._chat.timeout_s)
        if response.status_code == 429 and b"insufficient_quota" in body:
            response.headers["x-should-retry"] = "false"


def _read(answer: Any) -> Reply:
    """Take an answer apart; a server may have sent anything."""
    try:
        usage = getattr(answer, "usage", None)
        tokens = None
        if usage is not None:
            tokens = (int(usage.prompt_tokens), int(usage.completion_tokens))
        choice = answer.choices[0]
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        model = str(answer.model or "")
    except (AttributeError, IndexError, TypeError, ValueError, KeyError):
        return Reply("refused", reason="malformed answer", detail=shortened(repr(answer)))
    reason, detail = "", text
    if choice.finish_reason == "content_filter" or refusal:
        reason, detail = "refusal", refusal
    elif choice.finish_reason == "length":
        reason = "cut off"
    elif text is not None and not isinstance(text, str):
        reason = "malformed answer"
    if reason:
        return Reply("refused", reason=reason, detail=shortened(str(detail or "")), tokens=tokens)
    return Reply("answer", text or "", tokens=tokens, model=model)


def _failure(error: Exception) -> Reply:
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    detail = shortened(str(error) or type(error).__name__)
    if isinstance(error, APIStatusError):
        return _status(error.status_code, detail)
    if isinstance(error, APITimeoutError | TimeoutError | asyncio.TimeoutError):
        return Reply("failed", reason="time-out", detail=detail, unwell=True)
    if isinstance(error, APIConnectionError):
        detail = shortened(f"{detail} {error.__cause__ or ''}".strip())
        return Reply("failed", reason="connection failed", detail=detail, unwell=True)
    detail = shortened(f"{type(error).__name__}: {error}")
    return Reply("refused", reason="malformed answer", detail=detail)


def _status(status: int, detail: str) -> Reply:
    if status in _HOPELESS:
        return Reply("fatal", reason=f"the server {_HOPELESS[status]}", detail=detail)
    if status == 429 and "insufficient_quota" in detail:
        return Reply("fatal", reason="the account has no quota left", detail=detail)
    if status in (408, 409, 425, 429) or status >= 500:
        return Reply("failed", reason=f"HTTP {status}", detail=detail, unwell=status >= 500)
    return Reply("never", reason=f"HTTP {status}", detail=detail)
