"""Captions that a language model writes, behind any server that speaks the OpenAI protocol.

`settings` names the server; `writer` asks about a chunk of clips, through `client`, within the
limits of `limits`; `answers` keeps what was answered by the content of the question.
"""

from __future__ import annotations

from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.llm.writer import LanguageModelWriter, Question

__all__ = ["ChatSettings", "LanguageModelWriter", "Question"]
