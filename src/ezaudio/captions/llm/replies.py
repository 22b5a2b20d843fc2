"""What a server that speaks the OpenAI protocol may send, taken apart: nothing of it raises."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from ezaudio.captions.record import shortened
from ezaudio.captions.validation import Rules, check

_HOPELESS = {
    401: "the server refuses the API key",
    402: "the server wants to be paid",
    403: "the server refuses access",
    404: "the server does not know the model or the address",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one question.

    Attributes:
        kind: `answer`; `refused`, an answer that is no caption: another try may do; `failed`, the
            server or the line to it; `never`, not for this clip; `fatal`, not for any clip.
        text: the caption, or what came instead.
        reason: why there is none.
        tokens: in and out, as the server counts; None when it does not say.
        model: the model that the server says it used.
        unwell: the server or the line to it does not work; False where it only has too much to do.
    """

    kind: Literal["answer", "refused", "failed", "never", "fatal"]
    text: str
    reason: str = ""
    tokens: tuple[int, int] | None = None
    model: str = ""
    unwell: bool = False


def reply_of(answer: Any, rules: Rules) -> Reply:
    """Read and judge an answer; a server may have sent anything."""
    try:
        choice, usage = answer.choices[0], getattr(answer, "usage", None)
        tokens = usage and (int(usage.prompt_tokens), int(usage.completion_tokens))
        text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        finish, model = choice.finish_reason, str(answer.model or "")
    except (AttributeError, IndexError, TypeError, ValueError, KeyError):
        return Reply("refused", shortened(repr(answer)), "malformed answer")
    if finish == "content_filter" or refusal:
        return Reply("refused", shortened(str(refusal or "")), "refusal", tokens)
    if finish == "length":
        return Reply("refused", shortened(str(text)), "cut off", tokens)
    if text is not None and not isinstance(text, str):
        return Reply("refused", shortened(repr(text)), "malformed answer", tokens)
    caption, reason = check(text, rules)
    if reason:
        return Reply("refused", caption[:200], reason, tokens)
    return Reply("answer", caption, tokens=tokens, model=model)


def reply_of_error(error: Exception) -> Reply:
    """Say what an error of the client means for the clip, and for all others."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    text = shortened(str(error) or type(error).__name__)
    if isinstance(error, APITimeoutError | TimeoutError | asyncio.TimeoutError):
        return Reply("failed", text, "time-out", unwell=True)
    if isinstance(error, APIConnectionError):
        text = shortened(f"{text} {error.__cause__ or ''}".strip())
        return Reply("failed", text, "connection failed", unwell=True)
    if not isinstance(error, APIStatusError):
        return Reply("refused", shortened(f"{type(error).__name__}: {error}"), "malformed answer")
    status = error.status_code
    if status in _HOPELESS:
        return Reply("fatal", text, _HOPELESS[status])
    if status == 429 and "insufficient_quota" in str(error):
        return Reply("fatal", text, "the account has no quota left")
    if status in (408, 409, 425, 429) or status >= 500:
        return Reply("failed", text, f"HTTP {status}", unwell=status >= 500)
    return Reply("never", text, f"HTTP {status}")
