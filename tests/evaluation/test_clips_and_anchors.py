from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.conftest import RATE, write_sounds

from ezaudio.errors import InputError
from ezaudio.evaluation.anchors import ANCHORS, halves, other_recordings
from ezaudio.evaluation.clips import LISTS, Item, read_folder, read_items, with_captions
from ezaudio.evaluation.sources import Changed, content_hash, open_source
from ezaudio.types import Clip

AUDIOCAPS = """audiocap_id,youtube_id,start_time,caption
103549,7fmOlUlwoNg,20,Constant rattling noise and sharp vibrations
103548,7fmOlUlwoNg,20,A rocket flies by followed by a loud explosion
"""  # the first lines of AudioCaps' test.csv (MIT)


class TestManifests:
    def test_csv_and_json_lines_say_the_same(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text(
            "file,split,label,caption,duration\nx/one.ogg,valid,dog,A dog.,1.5\n"
        )
        (tmp_path / "a.jsonl").write_text(
            '{"file": "x/one.ogg", "label": "dog", "caption": "A dog.", "duration": 1.5,'
            ' "split": "valid"}\n'
        )
        one, other = (read_items(tmp_path / name) for name in ("a.csv", "a.jsonl"))
        assert one == other
        file = tmp_path / "x" / "one.ogg"
        assert one[0] == Item("one", "A dog.", (), 1.5, "dog", "valid", file, place="x/one")

    def test_usual_columns_splits_and_quoted_line_breaks_are_understood(self, tmp_path: Path):
        text = '\ufeffPath;Text;Split\na.wav;"two\nlines";Validation\nb.wav;rain;\n'
        (tmp_path / "a.csv").write_text(text)
        assert [i.caption for i in read_items(tmp_path / "a.csv")] == ["two\nlines", "rain"]
        assert [i.name for i in read_items(tmp_path / "a.csv", split="val")] == ["a"]

    def test_items_are_named_as_the_folders_that_they_are_scored_in(self, tmp_path: Path):
        text = "file,caption\n" + "".join(f"ref/{k}/{i}.wav,{k}\n" for k in "ab" for i in (0, 1))
        (tmp_path / "a.csv").write_text(text)
        (tmp_path / "one.csv").write_text("file\nref/a/0.wav\n")
        assert [i.name for i in read_items(tmp_path / "a.csv")] == ["a/0", "a/1", "b/0", "b/1"]
        assert read_items(tmp_path / "one.csv")[0].name == "0"
        folder = ["a/0", "a/1", "b/0"]
        assert read_items(tmp_path / "one.csv", folders=[folder])[0].name == "a/0"

    def test_clips_are_kept_out_of_a_manifest(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("file\na.wav\nb.wav\n")
        (tmp_path / "out.txt").write_text("b.wav\n")
        kept = read_items(tmp_path / "a.csv", exclude=[tmp_path / "out.txt"])
        assert [item.name for item in kept] == ["a"]

    def test_a_split_that_is_not_there_is_named(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("name,caption,split\na,x,train\n")
        with pytest.raises(InputError, match="'test'"):
            read_items(tmp_path / "a.csv", split="test")

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("caption\nx\n", "no file or name"),
            ("file,caption\na.wav,a camera, clicking\n", "a.csv:2"),
            ("name,duration\na,long\n", "duration"),
            ("name,split\na,later\n", "split"),
            ("name\na\na\n", "each clip once"),
        ],
    )
    def test_rows_that_cannot_be_read_are_refused(self, tmp_path: Path, text, match):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(InputError, match=match):
            read_items(tmp_path / "a.csv")

    def test_hidden_files_are_no_clips_and_other_formats_are_told(self, tmp_path: Path):
        folder = write_sounds(tmp_path / "s", 3)
        (folder / "._c00.wav").write_bytes(b"\0")
        assert len(read_folder(folder).names) == 3
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "a.m4a").touch()
        with pytest.raises(InputError, match="ffmpeg"):
            read_folder(tmp_path / "t")

    def test_a_folder_and_its_manifest_must_name_the_same_clips(self, tmp_path: Path):
        clips = read_folder(write_sounds(tmp_path / "s", 3))
        items = [Item(f"c0{i}", f"sound {i}") for i in range(3)]
        assert with_captions(clips, items).items[2].caption == "sound 2"
        with pytest.raises(InputError, match="c02"):
            with_captions(clips, items[:2])


class TestLists:
    def test_the_audiocaps_lists_have_886_and_964_clips(self):
        rows = (LISTS / "audiocaps.csv").read_text().splitlines()[1:]
        assert len(rows) == len(set(rows)) == 964
        assert sum(row.endswith(",1") for row in rows) == 886

    def test_the_audiocaps_lists_need_audiocaps_own_file(self, tmp_path: Path):
        with pytest.raises(InputError, match="cdjkim/audiocaps"):
            read_items("audiocaps-886")
        (tmp_path / "test.csv").write_text(AUDIOCAPS)
        with pytest.raises(InputError, match="and 961 more"):
            read_items("audiocaps-964", audiocaps=tmp_path / "test.csv")

    def test_the_order_list_asks_for_every_pair_both_ways_round(self):
        items = read_items("starter-order")
        pairs = {item.events for item in items}
        assert len(items) >= 40
        assert pairs == {(b, a) for a, b in pairs}

    def test_the_order_list_names_kinds_that_the_starter_tagger_knows(self):
        from ezaudio.extractors.starter_tagger import load_starter_tagger

        known = set(load_starter_tagger().labels)
        assert {event for item in read_items("starter-order") for event in item.events} <= known


class TestAnchors:
    @pytest.fixture
    def real(self, tmp_path: Path):
        return read_folder(write_sounds(tmp_path / "real", 6))

    @pytest.mark.parametrize("name", ANCHORS)
    def test_an_anchor_has_the_names_of_the_recordings_and_is_the_same_again(self, real, name):
        made, again = ANCHORS[name](real), ANCHORS[name](real)
        assert made.names == real.names
        assert made.title == name
        for a, b in zip(made.sources, again.sources, strict=True):
            assert np.array_equal(open_source(a).samples, open_source(b).samples)
            assert content_hash(a) == content_hash(b)

    def test_the_content_of_a_change_follows_from_its_source_and_its_name(self, real):
        def refused(_: Clip) -> Clip:
            raise AssertionError("made for a hash")

        first, second = real.sources[:2]
        changes = [(first, "a"), (first, "b"), (second, "a")]
        hashes = {content_hash(Changed(source, name, refused)) for source, name in changes}
        assert len(hashes) == 3
        assert content_hash(Changed(Changed(first, "a", refused), "b", refused)) not in hashes

    def test_shuffling_leaves_no_recording_in_its_place(self, real):
        made = ANCHORS["shuffled"](real)
        assert sorted(map(str, made.sources)) == sorted(map(str, real.sources))
        assert all(a != b for a, b in zip(made.sources, real.sources, strict=True))

    def test_the_low_pass_takes_the_upper_half_away(self, real):
        clip = open_source(ANCHORS["low-passed"](real).sources[0])
        power = np.abs(np.fft.rfft(clip.samples)) ** 2
        hz = np.fft.rfftfreq(len(clip.samples), 1 / RATE)
        assert power[hz > 5000].sum() < 1e-3 * power[hz < 3500].sum()

    def test_two_halves_share_no_clip(self, real):
        a, b = halves(real)
        assert len(a.names) == len(b.names) == 3
        assert not set(a.names) & set(b.names)

    def test_other_recordings_are_of_the_same_kind_where_there_are_such(self, tmp_path, real):
        write_sounds(tmp_path / "more", 8, seed=3)
        items = tuple(
            Item(i.name, label="dog" if k < 2 else "", file=i.file)
            for k, i in enumerate(real.items)
        )
        real = type(real)("real", items, real.sources)
        others = [
            Item(f"o{i}", label="dog" if i >= 6 else "cat", file=tmp_path / "more" / f"c0{i}.wav")
            for i in range(8)
        ]
        found = other_recordings(real, others)
        assert found is not None
        assert found.names == real.names
        assert {p.name for p in found.sources[:2]} == {"c06.wav", "c07.wav"}
        assert len(set(found.sources)) == 6
        assert other_recordings(real, others[:3]) is None
