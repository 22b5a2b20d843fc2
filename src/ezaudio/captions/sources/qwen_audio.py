"""Qwen2-Audio through transformers: batches of clips in, answers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import Item
from ezaudio.captions.validation import check
from ezaudio.errors import AudioFileError, CheckpointError, InputError

if TYPE_CHECKING:
    import numpy as np

    from ezaudio.captions.sources.audio_lm import AudioLM

_NEW_TOKENS = 80


class QwenAudioWriter:
    """Listens with the model itself.

    The answer of greedy search is tried first; where it is refused, the model samples, each time
    with its own seed, so that a run that is started again gives the same.

    Raises:
        InputError: no path is set, or the folder is not there.
        CheckpointError: the model cannot be loaded.
    """

    def __init__(self, source: AudioLM, prompt: Prompt) -> None:
        if not source.model_path or not Path(source.model_path).is_dir():
            raise InputError(
                "model_path",
                source.model_path,
                "the folder of a Qwen2-Audio model (config.json, ...)",
            )
        import torch

        self.model = Path(source.model_path).resolve().name
        self.prompt_hash = prompt.hash
        self._source, self._prompt = source, prompt
        gpu = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = gpu if source.device == "auto" else source.device
        self._processor, self._network = _load(source, self._device)
        self._rate = int(self._processor.feature_extractor.sampling_rate)

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """Listen to each clip."""
        found: dict[int, ClipOutcome] = {}
        heard: list[tuple[int, Item, np.ndarray[Any, Any]]] = []
        for index, item in enumerate(items):
            try:
                heard.append((index, item, self._samples(item)))
            except AudioFileError as error:
                found[index] = ClipOutcome(failures=(Attempt("unreadable audio", str(error), 0),))
            if len(heard) == self._source.batch_size:
                found |= self._batch(heard)
                heard = []
        if heard:
            found |= self._batch(heard)
        return [found[index] for index in range(len(items))]

    def close(self) -> None:
        """Let go of the model."""
        del self._network

    def _samples(self, item: Item) -> np.ndarray[Any, Any]:
        from ezaudio.audio import read_audio

        clip = read_audio(self._source.path_of(item), self._rate)
        return clip.samples[: math.ceil(self._source.heard_s * self._rate)]

    def _batch(
        self, heard: Sequence[tuple[int, Item, np.ndarray[Any, Any]]]
    ) -> dict[int, ClipOutcome]:
        failures: dict[int, list[Attempt]] = {index: [] for index, _, _ in heard}
        done: dict[int, ClipOutcome] = {}
        for attempt in range(1, self._source.chat.most_tries + 1):
            left = [row for row in heard if row[0] not in done]
            if not left:
                break
            for (index, _, _), text in zip(left, self._answers(left, attempt), strict=True):
                caption, reason = check(text, self._source.rules)
                if reason:
                    failures[index].append(Attempt(reason, caption[:200], attempt))
                else:
                    done[index] = ClipOutcome((caption,), tuple(failures[index]))
        return {
            index: done.get(index, ClipOutcome(failures=tuple(failures[index])))
            for index in failures
        }

    def _answers(
        self, heard: Sequence[tuple[int, Item, np.ndarray[Any, Any]]], attempt: int
    ) -> list[str]:
        import torch

        asked = [self._prompt.filled(self._source.fields_of(item)) for _, item, _ in heard]
        texts = [_chat(self._processor, system, user) for system, user in asked]
        inputs = self._processor(
            text=texts,
            audio=[samples for _, _, samples in heard],
            sampling_rate=self._rate,
            return_tensors="pt",
            padding=True,
        ).to(self._device)
        inputs["input_features"] = inputs["input_features"].to(self._network.dtype)
        devices = [self._device] if self._device.startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(attempt)
            made = self._network.generate(
                **inputs,
                max_new_tokens=_NEW_TOKENS,
                do_sample=attempt > 1,
                **({"temperature": self._source.chat.temperature or 0.7} if attempt > 1 else {}),
            )
        new = made[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = self._processor.batch_decode(
            new, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return answers


def _chat(processor: Any, system: str, user: str) -> str:
    """Put a question with one sound into the model's own form."""
    content = [{"type": "audio", "audio_url": ""}, {"type": "text", "text": user}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def _load(source: AudioLM, device: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration
    from transformers.utils import logging

    showing = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(source.model_path, local_files_only=True)
        network = Qwen2AudioForConditionalGeneration.from_pretrained(
            source.model_path, local_files_only=True, dtype=getattr(torch, source.dtype)
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"{source.model_path}: not a Qwen2-Audio model ({first})") from None
    finally:
        if showing:
            logging.enable_progress_bar()
    processor.tokenizer.padding_side = "left"  # answers begin where the longest question ends
    return processor, network.to(device).eval()
