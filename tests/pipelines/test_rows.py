"""Files of prompts."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import derived_seed
from ezaudio.errors import InputError
from ezaudio.pipelines.rows import ROW_KEYS, read_rows


def read(tmp_path, name, content, **given_values):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rows(path, {"steps": 20, "duration_s": 2.0}, given_values)


def test_text_has_a_prompt_a_line(tmp_path):
    requests = read(tmp_path, "p.txt", "a dog\n\n  rain falling \r\n", seed=3)
    assert [r.prompt for r in requests] == ["a dog", "rain falling"]
    assert {(r.options.steps, r.options.duration_s) for r in requests} == {(20, 2.0)}


def test_each_row_without_a_seed_has_one_that_follows_from_the_runs(tmp_path):
    requests = read(
        tmp_path,
        "p.jsonl",
        """{"prompt": "a"}
{"prompt": "b", "seed": 3}
{"prompt": "c"}
{"prompt": "d", "num": 5}""",
        seed=3,
    )
    seeds = [r.options.seed for r in requests]
    assert seeds[:2] == [3, 3]
    assert len(set(seeds)) == 3
    assert seeds[2:] == [derived_seed(3, 2), derived_seed(3, 3, takes=5)]
    unseeded = read(tmp_path, "p.txt", "a\nb")
    assert [r.options.seed for r in unseeded] == [None, None]


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        ("a dog\nrain, then wind\n", ["a dog", "rain, then wind"]),
        ('\n{"prompt": "a dog"}\n{"prompt": "rain"}', ["a dog", "rain"]),
        ('prompt,seed\n"a dog, barking",1\n', ["a dog, barking"]),
        ("a prompt, and more", ["a prompt, and more"]),
    ],
)  # fmt: skip
def test_standard_input_is_read_as_what_it_looks_like(monkeypatch, content, prompts):
    stdin = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert [r.prompt for r in read_rows("-", {}, {})] == prompts


def test_a_complaint_on_standard_input_names_the_line(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": 5}')))
    with pytest.raises(InputError, match=r"stdin\.jsonl:1: prompt"):
        read_rows("-", {}, {})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    with pytest.raises(InputError, match="UTF-8"):
        read_rows("-", {}, {})


def test_an_empty_prompt_in_a_row_asks_for_any_sound(tmp_path):
    [request] = read(tmp_path, "p.jsonl", '{"prompt": "", "fade": 0, "loudness": -16}')
    assert (request.prompt, request.options.fade_s, request.options.loudness) == ("", 0, -16)


def test_csv_sets_what_it_names_and_an_empty_cell_leaves_the_option(tmp_path):
    content = "prompt,duration,seed,output,guidance_interval\n"
    content += '"a dog, barking",1.5,,dog.wav,20:80\nrain,,7,,\n'
    dog, rain = read(tmp_path, "p.csv", "\ufeff" + content, seed=3)
    assert (dog.prompt, dog.options.duration_s, dog.options.seed) == ("a dog, barking", 1.5, 3)
    assert (dog.output, dog.options.guidance_interval) == ("dog.wav", (20.0, 80.0))
    assert (rain.options.duration_s, rain.options.seed, rain.output) == (2.0, 7, None)


def test_json_lines_take_every_option(tmp_path):
    row = {"prompt": "rain", "duration": 3, "seed": 1, "negative_prompt": "music", "steps": 9,
           "guidance_scale": 2.5, "sampler": "heun", "num": 2, "output": None}  # fmt: skip
    [request] = read(tmp_path, "p.jsonl", json.dumps(row) + "\n\n", steps=5)
    assert (request.options.steps, request.options.sampler, request.options.num) == (9, "heun", 2)
    assert request.options.negative_prompt == "music"


@pytest.mark.parametrize(
    ("name", "content", "place", "said"),
    [
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": "b", "step": 3}', "p.jsonl:2", "step"),
        ("p.jsonl", '{"prompt": "b", "step": 3}', "p.jsonl:1", ", ".join(ROW_KEYS)),
        ("p.jsonl", '{"duration": 3}', "p.jsonl:1", "prompt"),
        ("p.jsonl", '{"prompt": 5}', "p.jsonl:1: prompt", "5"),
        ("p.jsonl", '{"prompt": "a", "duration": -1}', "p.jsonl:1: duration", "-1"),
        ("p.jsonl", '{"prompt": "a", "duration": NaN}', "p.jsonl:1: duration", "finite"),
        ("p.jsonl", '{"prompt": "a", "output": 5}', "p.jsonl:1: output", "5"),
        ("p.jsonl", '{"prompt": "a", "sampler": "dimm"}', "p.jsonl:1: sampler", "mean ddim"),
        ("p.jsonl", '["a"]', "p.jsonl:1", "a JSON object"),
        ("p.jsonl", "{", "p.jsonl:1", "a JSON object"),
        ("p.jsonl", "[" * 100_000, "p.jsonl:1", "a JSON object"),
        ("p.csv", "prompt,durations\na,3\n", "p.csv:2", "durations"),
        ("p.csv", "duration\n3\n", "p.csv:2", "prompt"),
        ("p.csv", "prompt,prompt\na,b\n", "p.csv:1", "once"),
        ("p.csv", "prompt,seed\na,1\nb\n", "p.csv:3", "2 columns"),
        ("p.csv", "prompt,seed\na,1,5\n", "p.csv:2", "2 columns"),
        ("p.csv", "prompt,seed\na,x\n", "p.csv:2: seed", "valid integer"),
        ("p.csv", 'prompt\n"a\n', "p.csv:2", "quotation marks"),
        ("p.csv", "", "p.csv", "at least one prompt"),
        ("p.txt", "\n \n", "p.txt", "at least one prompt"),
        ("p.txt", "x" * 10_000, "p.txt:1", "at most 2000 characters"),
        ("p.txt", b"\xff\xfe\x00", "p.txt", "UTF-8"),
        ("p.xlsx", b"PK", "p.xlsx", ".txt, .csv"),
    ],
)  # fmt: skip
def test_a_complaint_names_file_and_line(tmp_path, name, content, place, said):
    with pytest.raises(InputError) as error:
        read(tmp_path, name, content)
    assert place in str(error.value) or place in str(error.value.got)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "File;Caption;Split;notes\nx.wav;a dog, barking;train;loud\n\n"),
        ("p.tsv", "\ufefftext\tnotes\na dog, barking\tloud\n"),
        ("p.ndjson", '{"text": "a dog, barking", "label": null, "notes": 3}\n'),
    ],
)
def test_a_list_of_clips_is_a_file_of_prompts_and_other_columns_are_told(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    told = []
    [request] = read_rows(tmp_path / name, {"duration_s": 2.0}, {}, tell=told.append)
    assert request.prompt == "a dog, barking"
    assert told == [f"{name}: left out, no options: notes"]


def test_a_quoted_line_break_keeps_a_prompt_and_the_numbers_of_lines(tmp_path):
    with pytest.raises(InputError, match=r"p\.csv:4: seed"):
        read(tmp_path, "p.csv", 'prompt,seed\n"a\nb",1\nc,x\n')


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_rows(tmp_path / "no.txt", {}, {})
    with pytest.raises(InputError, match="Is a directory"):
        read_rows(tmp_path, {}, {})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(suffix=st.sampled_from([".txt", ".csv", ".jsonl"]), content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, suffix, content):
    try:
        requests = read(tmp_path, f"p{suffix}", content)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert all(request.prompt.strip() for request in requests)
