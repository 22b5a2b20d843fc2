"""An audio-language model listens and writes: Qwen2-Audio by default (the paper's AS-Qwen-Caps).

Two ways: the model itself through transformers, and any server that speaks the OpenAI protocol and
takes `input_audio`. The input is a folder of sound files, or a CSV list with a column `file`.
Source: Chu et al. 2024, arXiv:2407.10759 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ezaudio.captions.base import Source, Writer
from ezaudio.captions.folders import items_of_folder, items_of_list
from ezaudio.captions.llm import ChatSettings, LanguageModelWriter, Question
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import BadLine, Item
from ezaudio.captions.sources.qwen_audio import QwenAudioWriter
from ezaudio.captions.validation import Rules


class AudioChatSettings(ChatSettings):
    """A server whose model listens; settings as of every other."""

    model: str = "gpt-4o-audio-preview"


class AudioLM(Source):
    """Captions of plain recordings.

    Attributes:
        writer: `server` or `transformers`.
        model_path: folder of the model, for `transformers`.
        device: for `transformers`: `cpu`, `cuda`, `cuda:1`; `auto` takes a GPU where there is one.
        dtype: for `transformers`: `float32`, `bfloat16`, `float16`.
        batch_size: clips at once, for `transformers`.
        audio_root: folder that the files of the list lie in; empty takes the input's own.
        heard_s: most seconds of a clip that are listened to, from its start.
        chat: server and model, for `server`.
        prompt: prompt file; empty for the one of the package.
        rules: what an answer has to obey.
    """

    kind: Literal["audio_lm"] = "audio_lm"
    writer: Literal["server", "transformers"] = "server"
    model_path: str = ""
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: int = Field(8, ge=1)
    audio_root: str = ""
    heard_s: float = Field(30.0, gt=0)
    chat: AudioChatSettings = AudioChatSettings()
    prompt: str = ""
    rules: Rules = Rules()

    def asks(self) -> bool:
        """It depends on the writer."""
        return self.writer == "server"

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read a folder or a list."""
        read = items_of_folder if path.is_dir() else items_of_list
        return read(path, licence=self.licence)

    def open(self) -> Writer:
        """Load the model, or make ready to ask the server."""
        prompt = Prompt.read(self.prompt or "audio_lm")
        if self.writer == "transformers":
            return QwenAudioWriter(self, prompt)
        return LanguageModelWriter(self.chat, prompt, self.rules, self._ask)

    def path_of(self, item: Item) -> str:
        """The clip's sound file; empty for none."""
        return str(Path(self.audio_root) / item.audio) if item.audio else ""

    def fields_of(self, item: Item) -> dict[str, str]:
        """What a prompt may use."""
        return {"tags": ", ".join(item.tags)}

    def _ask(self, item: Item) -> Question | None:
        if not item.audio:
            return None
        heard_s = min(self.heard_s, item.end_s - item.start_s or self.heard_s)
        return Question(self.fields_of(item), self.path_of(item), heard_s)
