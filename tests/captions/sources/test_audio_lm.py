"""Models that listen: a server that takes audio, and Qwen2-Audio itself with tiny random
weights."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from tests.captions.chat_server import Behaviour, chat_server
from tests.captions.conftest import run, table
from tests.captions.test_dedup import sound

from ezaudio.audio import write_audio
from ezaudio.captions.base import Allowance, Source
from ezaudio.captions.record import BadLine, Item
from ezaudio.captions.sources import source_from
from ezaudio.captions.sources.audio_lm import AudioLM
from ezaudio.captions.store import CaptionSet
from ezaudio.errors import CheckpointError, InputError

SENTENCE = "a dog barks rain falls and then the door slams while wind blows over an old car"
WORDS = SENTENCE.split()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    write_audio(folder / "b.wav", sound(1, 1.0), 24_000)
    write_audio(folder / "more" / "a.flac", sound(2, 2.5), 24_000)
    (folder / "c.wav").write_bytes(b"not a sound")
    (folder / "readme.txt").write_text("no sound")
    return folder


def source(clips: Path, **settings: Any) -> Source:
    return source_from("audio_lm", {"audio_root": str(clips), **settings})


def test_a_server_gets_each_sound_and_its_answer_becomes_the_caption(
    clips: Path, tmp_path: Path
) -> None:
    with chat_server(lambda call, times: Behaviour(text="A bell rings and fades.")) as server:
        chat = {"base_url": server.url}
        summary = run(source(clips, chat=chat, heard_s=1.5), clips, tmp_path / "set")
    assert (summary.captions, summary.without) == (2, 1)
    assert summary.reasons == {"unreadable audio": 1}
    heard = [soundfile.read(io.BytesIO(call.audio or b"")) for call in server.calls]
    assert sorted((len(samples), rate) for samples, rate in heard) == [
        (16_000, 16_000),
        (24_000, 16_000),
    ]
    assert all("sentence" in call.user and "Never write what somebody says" in call.system
               for call in server.calls)  # fmt: skip
    records = list(CaptionSet(tmp_path / "set").records())
    assert [(r.clip_id, r.audio) for r in records] == [("b", "b.wav"), ("more/a", "more/a.flac")]
    assert records[0].model == "gpt-4o-audio-preview"
    assert len(records[0].prompt_hash) == 16


def test_a_recording_that_was_replaced_is_heard_again_and_only_that_one(
    clips: Path, tmp_path: Path
) -> None:
    with chat_server(lambda call, times: Behaviour(text="A bell rings and fades.")) as server:
        listens = source(clips, chat={"base_url": server.url})
        run(listens, clips, tmp_path / "set")
        assert run(listens, clips, tmp_path / "set").passed_over == 1
        write_audio(clips / "b.wav", sound(7, 1.0), 24_000)
        assert run(listens, clips, tmp_path / "set").passed_over == 0
        assert len(server.calls) == 3
        moved = clips.rename(tmp_path / "moved")  # the same sounds elsewhere cost nothing
        run(source(moved, chat={"base_url": server.url}), moved, tmp_path / "set")
        assert len(server.calls) == 3


def test_a_caption_stays_when_its_recording_is_gone(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\na.wav\n")
    write_audio(tmp_path / "a.wav", sound(1, 1.0), 24_000)
    with chat_server(lambda call, times: Behaviour(text="A bell rings and fades.")) as server:
        listens = source(tmp_path, chat={"base_url": server.url})
        run(listens, tmp_path / "list.csv", tmp_path / "set")
        (tmp_path / "a.wav").unlink()
        again = run(listens, tmp_path / "list.csv", tmp_path / "set")
    assert (again.passed_over, again.captions) == (1, 1)


def test_a_list_of_files_brings_licences_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "file,label,license,duration\nx/dog.wav,dog,CC0 1.0,2.5\n,cat,CC0,1\ny.wav,cow,CC0,long\n"
    )
    items, bad = [], []
    for found in source(tmp_path).items(path):
        (bad if isinstance(found, BadLine) else items).append(found)
    assert items == [Item("x/dog", audio="x/dog.wav", end_s=2.5, licence="CC0 1.0", tags=("dog",))]
    assert [line.reason for line in bad] == ["no file", "duration is not a number"]
    with pytest.raises(InputError, match="column file"):
        list(source(tmp_path).items(tmp_path / "list.txt"))


def write_tiny_qwen(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    special = ["<unk>", "<|endoftext|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>",
               "<|im_start|>", "<|im_end|>"]  # fmt: skip
    names = [*special, *WORDS, "."]
    model = models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=special[2:],
    )
    Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=16, chunk_length=30), fast
    ).save_pretrained(folder)
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 16, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32, "max_source_positions": 1500,
        },
        text_config={
            "model_type": "qwen2", "vocab_size": len(names), "hidden_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 2048,
        },
        audio_token_index=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Qwen2AudioForConditionalGeneration(config)
        head = network.get_output_embeddings()
        head.weight.data.normal_(std=1.0)
        network.generation_config.eos_token_id = 6
        network.generation_config.pad_token_id = 1
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qwen(tmp_path_factory.mktemp("qwen"))


LENIENT = {"fewest_words": 1, "most_words": 500, "language": "any"}


def written(
    clips: Path, qwen: Path, out: Path, batch_size: int = 2, **settings: Any
) -> list[tuple[Any, ...]]:
    made = source(
        clips, writer="transformers", model_path=str(qwen), device="cpu", batch_size=batch_size,
        heard_s=1.0, **settings,
    )  # fmt: skip
    run(made, clips, out)
    return table(out)


def test_qwen2_audio_listens_and_its_answers_are_judged_like_all_others(
    clips: Path, qwen: Path, tmp_path: Path
) -> None:
    rows = written(clips, qwen, tmp_path / "set", rules=LENIENT)
    assert [row[0] for row in rows] == ["b", "more/a"]
    assert rows[0][3] == qwen.name
    assert all(set(row[1].lower().rstrip(".").split()) <= set(WORDS) | {"."} for row in rows)
    failures = list(CaptionSet(tmp_path / "set").failures())
    assert [f.reason for f in failures if f.clip_id == "c"] == ["unreadable audio"]


def test_an_answer_does_not_depend_on_the_batch_nor_on_the_run(
    clips: Path, qwen: Path, tmp_path: Path
) -> None:
    runs = [written(clips, qwen, tmp_path / str(n), batch_size=n, rules=LENIENT) for n in (1, 2)]
    assert runs[0] == runs[1]


def test_a_model_whose_answers_are_all_refused_gives_reasons_and_no_caption(
    clips: Path, qwen: Path, tmp_path: Path
) -> None:
    strict = {"fewest_words": 1, "most_words": 1}
    rows = written(clips, qwen, tmp_path / "set", rules=strict, chat={"most_tries": 2})
    assert rows == []
    failures = [f for f in CaptionSet(tmp_path / "set").failures() if f.clip_id == "b"]
    assert [(f.attempt, f.final) for f in failures] == [(1, False), (2, True)]
    assert {f.reason for f in failures} <= {"too long", "language", "several sentences"}


def test_a_path_without_a_model_is_refused_in_one_line(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model_path"):
        source(clips, writer="transformers").open()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_audio"}))
    with pytest.raises(CheckpointError, match="not a Qwen2-Audio model"):
        source(clips, writer="transformers", model_path=str(tmp_path)).open()


def test_a_clip_without_a_file_is_not_asked_about(tmp_path: Path) -> None:
    made = AudioLM(chat={"base_url": "http://localhost:1/v1"})
    outcome = made.open().write([Item("x")], Allowance(tmp_path / "j"))[0]
    assert [attempt.reason for attempt in outcome.failures] == ["nothing to ask about"]
