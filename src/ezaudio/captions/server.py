"""One request to a server that speaks the OpenAI protocol, and what may come of it.

A server can answer, refuse for now, refuse for good, or send something that is no answer. Whatever
it is becomes a `Reply`; nothing that a server sends raises.
"""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ezaudio.captions.asking import ChatSettings
from ezaudio.captions.courier import Request
from ezaudio.captions.pacing import retry_after_s
from ezaudio.captions.record import shortened
from ezaudio.errors import EzAudioError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_AUDIO_HZ = 16_000
NO_CONNECTION = "connection failed"
_HOPELESS = {
    401: "refuses the API key",
    402: "wants to be paid",
    403: "refuses access",
    404: "does not know the model or the address",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request.

    Attributes:
        text: the answer; None when there is none.
        reason: why there is none.
        detail: what came instead.
        kind: `answer`, `again` (another try may do), `never` (not for this clip), `fatal` (not for
            any clip).
        wait_s: how long the server asks to wait.
        tokens: in and out, as the server counts; None when it does not say.
        model: the model that the server says it used.
        unwell: the server or the line to it failed.
    """

    text: str | None = None
    reason: str = ""
    detail: str = ""
    kind: str = "answer"
    wait_s: float | None = None
    tokens: tuple[int, int] | None = None
    model: str = ""
    unwell: bool = False


class Server:
    """A server and its client.

    Raises:
        EzAudioError: the package `openai` is not installed.
    """

    def __init__(self, chat: ChatSettings) -> None:
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise EzAudioError(
                'language models need the package openai: pip install "ezaudio[captions]" brings it'
            ) from None
        self._chat = chat
        self._client: AsyncOpenAI = AsyncOpenAI(
            api_key=os.environ.get(chat.api_key_env) or "none",
            base_url=chat.base_url,
            timeout=chat.timeout_s,
            max_retries=0,
        )

    async def ask(self, request: Request, attempt: int) -> Reply:
        """Send one request and wait for what comes."""
        try:
            content: Any = await asyncio.to_thread(_content, request)
        except EzAudioError as error:
            return Reply(reason="unreadable audio", detail=str(error), kind="never")
        messages: list[Any] = [{"role": "user", "content": content}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        try:
            call = self._client.chat.completions.create(
                model=self._chat.model,
                messages=messages,
                temperature=self._chat.temperature,
                max_tokens=self._chat.top_answer_tokens,
                extra_headers={"Idempotency-Key": f"{request.key}-{attempt}"},
            )
            return _read(await asyncio.wait_for(call, 2 * self._chat.timeout_s))
        except Exception as error:  # the classes vary with the client's version
            return _failure(error)


def _content(request: Request) -> str | list[dict[str, Any]]:
    if not request.audio:
        return request.user
    from ezaudio.audio import encode_audio, read_audio

    clip = read_audio(request.audio, _AUDIO_HZ)
    samples = clip.samples[: max(1, round(request.heard_s * _AUDIO_HZ))]
    data = base64.b64encode(encode_audio(samples, _AUDIO_HZ, format="wav")).decode()
    return [
        {"type": "text", "text": request.user},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]


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
        return Reply(reason="malformed answer", detail=shortened(repr(answer)), kind="again")
    if choice.finish_reason == "content_filter" or refusal:
        return Reply(
            reason="refusal", detail=shortened(str(refusal or "")), kind="again", tokens=tokens
        )
    if choice.finish_reason == "length":
        return Reply(reason="cut off", detail=shortened(str(text)), kind="again", tokens=tokens)
    if text is not None and not isinstance(text, str):
        return Reply(reason="malformed answer", detail=shortened(repr(text)), kind="again")
    return Reply(text or "", tokens=tokens, model=model)


def _failure(error: Exception) -> Reply:
    status = getattr(error, "status_code", None)
    detail = shortened(str(error) or type(error).__name__)
    name = type(error).__name__
    if isinstance(status, int) and status >= 400:
        return _refused(status, detail, error)
    if "Timeout" in name or isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Reply(reason="time-out", detail=detail, kind="again", unwell=True)
    if "Connection" in name:
        cause = error.__cause__
        told = shortened(f"{detail} {cause or ''}".strip())
        return Reply(reason=NO_CONNECTION, detail=told, kind="again", unwell=True)
    return Reply(reason="malformed answer", detail=f"{name}: {detail}", kind="again")


def _refused(status: int, detail: str, error: Exception) -> Reply:
    headers = getattr(getattr(error, "response", None), "headers", {})
    wait_s = retry_after_s(headers)
    if status in _HOPELESS:
        return Reply(reason=f"the server {_HOPELESS[status]}", detail=detail, kind="fatal")
    if status == 429 and "insufficient_quota" in str(error):
        return Reply(reason="the account has no quota left", detail=detail, kind="fatal")
    if status in (408, 409, 425, 429) or status >= 500:
        unwell = status >= 500
        reason = f"HTTP {status}"
        return Reply(reason=reason, detail=detail, kind="again", wait_s=wait_s, unwell=unwell)
    return Reply(reason=f"HTTP {status}", detail=detail, kind="never")
