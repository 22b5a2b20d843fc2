"""Captions that a language model writes, behind any server that speaks the OpenAI protocol.

`settings` names the server; `writer` turns clips into questions; `client` asks them within the
limits of `limits`, reads what comes with `replies`, and keeps it in `answers`, by the content of
the question.
"""

from __future__ import annotations

from ezaudio.captions.llm.settings import ChatSettings
from ezaudio.captions.llm.writer import LanguageModelWriter, Question

__all__ = ["ChatSettings", "LanguageModelWriter", "Question"]
