"""Token numbers of prompts, and what is said when the tokenizer is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezaudio.errors import CheckpointError
from ezaudio.text.encoder import load_tokenizer, plain


def test_a_prompt_is_one_line_with_single_spaces() -> None:
    assert plain("  a dog\n\n barks\t loudly ") == "a dog barks loudly"
    assert plain(" \n ") == ""


def test_a_missing_or_damaged_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_tokenizer(tmp_path, max_tokens=9)
    for content in ("", "{}", '{"version": "1.0"'):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(CheckpointError, match="damaged"):
            load_tokenizer(tmp_path, max_tokens=9)
