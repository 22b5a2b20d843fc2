"""Lists of published collections. The quoted rows are from AudioCaps (MIT, AudioCaps authors),
AudioSet (CC BY 4.0, Google) and VGGSound (CC BY 4.0, University of Oxford).
"""

import io
import json
import tarfile

import pytest
import soundfile
from tests.data.conftest import RATE, noise, write

from ezaudio.data.clips import ClipRow
from ezaudio.data.collections import (
    COLLECTIONS,
    Excluded,
    ListOptions,
    kind_of,
    list_options,
    read_excluded,
    read_list,
    root_of,
)
from ezaudio.data.collections.audioset import read_label_names
from ezaudio.data.collections.auto_acd import without_preamble
from ezaudio.data.collections.folder import Recordings
from ezaudio.data.collections.youtube import Place, place_of
from ezaudio.data.sounds import SoundFiles
from ezaudio.errors import AudioFileError, InputError

AUDIOCAPS = """audiocap_id,youtube_id,start_time,caption
97151,vfY_TJq7n_U,130,"Rustling occurs, ducks quack and water splashes"
97152,vfY_TJq7n_U,130,Birds chirp and ducks quack before a man speaks
108945,tdWhHV3X25Q,60,An audience gives applause as a man yells and a group sings
"""
AUDIOSET = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=20371, num_segs=20371, num_unique_labels=527, num_positive_labels=51804
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"
--BfvyPmVMo, 20.000, 30.000, "/m/03l9g"
"""
WEAK = "filename\tevent_label\n--4gqARaEJE_0\t/m/068hy\n--4gqARaEJE_0\t/m/0bt9lr\n"
WEAK += "--BfvyPmVMo_20000\t/m/03l9g\n"
STRONG = """segment_id\tstart_time_seconds\tend_time_seconds\tlabel
YxlGt805lTA_30000\t4.100\t5.000\t/m/0bt9lr
YxlGt805lTA_30000\t2.627\t7.237\t/m/03l9g
"""
VGGSOUND = "glLQrEijrKg_000300.mp4,playing hammond organ\nDLoXsip0BEQ_000177.mp4,parrot talking\n"
ACD = "youtube_id,caption\n"
ACD += "YPsERnugT1hs,The audio caption for the given clues could be: A man speaks outdoors.\n"
ACD += "oPRC3zComfA_000117,Rain falls on a roof.\n"
WAVCAPS = json.dumps({"data": [
    {"id": "Yb0RFKhbpFJA.wav", "caption": "Rain falls.", "duration": 10.0},
    {"id": "NHU05083168.wav", "caption": "A crane calls.", "duration": 12.5},
    {"id": 17, "caption": "A dog barks.", "duration": 3},
]})  # fmt: skip
NAMES = {"/m/068hy": "Domestic animals, pets", "/m/0bt9lr": "Dog", "/m/03l9g": "Hammer"}
LISTS = {
    "audiocaps": ("val.csv", AUDIOCAPS),
    "audioset": ("eval_segments.csv", AUDIOSET),
    "audioset-weak": ("audioset_weak_eval.tsv", WEAK),
    "audioset-strong": ("audioset_train_strong.tsv", STRONG),
    "vggsound": ("test.csv", VGGSOUND),
    "auto-acd": ("acd.csv", ACD),
    "wavcaps": ("sl.json", WAVCAPS),
    "list": ("clips.csv", "file,label\na.wav,rain\n"),
}


@pytest.fixture
def lists(tmp_path):
    for name, text in LISTS.values():
        (tmp_path / name).write_text(text)
    return tmp_path


def rows_of(path, **options):
    return read_list(path, options=ListOptions(**options)).rows


def found_of(path, kind=None, options=None):
    """Names of the clips, and why lines were skipped."""
    found = read_list(path, kind, options)
    return [row.id for row in found.rows], [line.reason for line in found.skipped]


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_recognised_and_read(lists, kind):
    path = lists / LISTS[kind][0]
    assert kind_of(path) == kind
    rows = rows_of(path, labels=NAMES)
    assert rows == read_list(path, kind, ListOptions(labels=NAMES)).rows and rows[0].file
    assert {row.split for row in rows_of(path, split="test")} == {"test"}


def test_captions_of_one_recording_are_one_clip(lists):
    first, second = rows_of(lists / "val.csv")
    assert first.caption.startswith("Rustling") and first.captions[0].startswith("Birds chirp")
    assert (first.split, first.start, first.end, first.source_path) == (
        "valid", 130, 140, "vfY_TJq7n_U")  # fmt: skip
    assert second.captions == ()


def test_labels_of_audioset_get_their_names(lists):
    segment = rows_of(lists / "eval_segments.csv", labels=NAMES)[0]
    assert segment.tags == ("Domestic animals, pets", "Dog")
    assert segment.caption == "Domestic animals, pets, Dog"
    assert segment.label == "Domestic animals, pets" and segment.split == "test"
    weak = rows_of(lists / "audioset_weak_eval.tsv", labels=NAMES)
    assert [(row.start, row.tags) for row in weak] == [
        (0.0, ("Domestic animals, pets", "Dog")), (20.0, ("Hammer",))]  # fmt: skip


def test_strong_labels_are_events_in_order(lists):
    (row,) = rows_of(lists / "audioset_train_strong.tsv", labels=NAMES)
    assert [(e.label, e.start, e.end) for e in row.events] == [
        ("Hammer", 2.627, 7.237), ("Dog", 4.1, 5.0)]  # fmt: skip
    assert (row.source_path, row.start, row.tags) == ("YxlGt805lTA", 30.0, ("Hammer", "Dog"))


def test_both_kinds_of_label_lists_are_read(tmp_path):
    comma, tab = tmp_path / "class_labels_indices.csv", tmp_path / "mid_to_display_name.tsv"
    comma.write_text('index,mid,display_name\n1,/m/05zppz,"Male speech, man speaking"\n')
    tab.write_text("/m/012n7d\tAmbulance (siren)\n")
    assert read_label_names(comma) == {"/m/05zppz": "Male speech, man speaking"}
    assert read_label_names(tab) == {"/m/012n7d": "Ambulance (siren)"}
    with pytest.raises(InputError, match="labels"):
        read_label_names(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "name",
    ["vfY_TJq7n_U_130.flac", "vfY_TJq7n_U.wav", "YvfY_TJq7n_U_130.wav", "vfY_TJq7n_U_000130.wav",
     "deep/vfY_TJq7n_U_130000.ogg", "vfY_TJq7n_U_130_140.wav"],
)  # fmt: skip
def test_recordings_are_found_under_the_names_people_give_them(lists, name):
    write(lists / "audio" / name.replace(".ogg", ".wav"), noise(0))
    options = list_options(lists / "val.csv", audio=lists / "audio")
    rows = read_list(lists / "val.csv", options=options).rows
    assert rows[0].file == name.replace(".ogg", ".wav")
    assert rows[1].file == "tdWhHV3X25Q_60.wav"  # not there; `check` will say so
    assert root_of(lists / "val.csv", options) == lists / "audio"


def test_a_folder_gives_splits_labels_and_captions(tmp_path):
    for name in (
        "train/dog_barking/1.wav",
        "train/dog_barking/2.WAV",
        "valid/rain/x.flac",
        "y.ogg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not looked into")
    (tmp_path / "train/dog_barking/1.txt").write_text("A dog barks.\n\nBarking.\n")
    rows = {row.file: row for row in rows_of(tmp_path)}
    one = rows["train/dog_barking/1.wav"]
    assert (one.split, one.label, one.caption, one.captions) == (
        "train", "dog barking", "A dog barks.", ("Barking.",))  # fmt: skip
    assert rows["valid/rain/x.flac"].split == "valid"
    assert rows["valid/rain/x.flac"].caption == "rain"
    assert rows["train/dog_barking/2.WAV"].label == "dog barking"
    assert rows["y.ogg"].label == ""
    assert root_of(tmp_path, ListOptions()) == tmp_path


def make_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def tars(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(0), RATE, format="FLAC")
    sound = buffer.getvalue()
    make_tar(tmp_path / "a-000.tar", {
        "x/1.flac": sound, "x/1.json": json.dumps({"label": "rain", "extra": 1}).encode(),
        "x/2.flac": sound, "x/2.txt": b"One caption.\nAnother.\n",
        "x/3.txt": b"no sound", "README": b"",
    })  # fmt: skip
    make_tar(tmp_path / "a-001.tar", {"4.flac": sound[:200]})
    return tmp_path


def test_shards_give_rows_and_their_members_are_read(tars):
    rows = rows_of(tars)
    assert [row.file for row in rows] == ["a-000.tar/x/1.flac", "a-000.tar/x/2.flac",
                                          "a-001.tar/4.flac"]  # fmt: skip
    assert rows[0].label == "rain"
    assert (rows[1].caption, rows[1].captions) == ("One caption.", ("Another.",))
    files = SoundFiles(tars)
    assert files.exists(rows[0].file) and not files.exists("a-000.tar/x/9.flac")
    assert len(files.read(rows[0].file).samples) == 4000
    for name in ("a-001.tar/4.flac", "a-000.tar/x/9.flac", "b.tar/x.flac", "none.wav"):
        with pytest.raises(AudioFileError, match=name.replace(".", r"\.")):
            files.read(name)


def test_one_tar_is_a_source_too(tars):
    rows = rows_of(tars / "a-000.tar")
    assert len(rows) == 2
    assert SoundFiles(root_of(tars / "a-000.tar", ListOptions())).exists(rows[0].file)


def test_one_clip_has_one_name_whoever_lists_it(tmp_path):
    clip = "PsERnugT1hs"
    texts = {
        "balanced_train_segments.csv": f'# YTID, ...\n{clip}, 30.000, 40.000, "/m/03l9g"\n',
        "weak.tsv": f"filename\tevent_label\n{clip}_30000\t/m/03l9g\n",
        "strong.tsv": "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
        f"{clip}_30000\t0.0\t2.0\t/m/03l9g\n",
        "acd.csv": f"youtube_id,caption\nY{clip},A man speaks.\n",
        "caps.csv": f"audiocap_id,youtube_id,start_time,caption\n1,{clip},30,A man speaks.\n",
        "sl.json": json.dumps({"data": [{"id": f"Y{clip}.wav", "caption": "x", "duration": 10}]}),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name in texts:
        kind = "audioset" if name.startswith("balanced") else None
        (row,) = read_list(tmp_path / name, kind, list_options(tmp_path / name, kind)).rows
        assert (row.id, row.start, row.source_path) == (f"{clip}_30000", 30.0, clip), name
        assert row.file == f"{clip}_30.wav"


def test_a_start_that_no_list_has_leaves_the_clip_under_its_identifier(tmp_path):
    (tmp_path / "acd.csv").write_text(ACD)
    options = list_options(tmp_path / "acd.csv")
    assert found_of(tmp_path / "acd.csv", options=options) == (
        ["PsERnugT1hs", "oPRC3zComfA_117000"], [])  # fmt: skip
    segments = tmp_path / "lists" / "unbalanced_train_segments.csv"
    segments.parent.mkdir()
    segments.write_text('PsERnugT1hs, 90.000, 100.000, "/m/03l9g"\n')
    for given in (segments, segments.parent):
        options = list_options(tmp_path / "acd.csv", segments=given)
        assert found_of(tmp_path / "acd.csv", options=options)[0][0] == "PsERnugT1hs_90000"
    with pytest.raises(InputError, match="segments"):
        list_options(tmp_path / "acd.csv", segments=tmp_path / "none.csv")


def test_identifiers_are_taken_apart_however_they_are_written():
    told = {
        "YxlGt805lTA_30000": Place("YxlGt805lTA", 30.0),
        "YxlGt805lTA": Place("YxlGt805lTA", None),
        "YPsERnugT1hs": Place("PsERnugT1hs", None),
        "Y-AbCdEfGhIj_30000": Place("-AbCdEfGhIj", 30.0),
        "a_b-c_d_e_f_0": Place("a_b-c_d_e_f", 0.0),
        "vfY_TJq7n_U_130_140": Place("vfY_TJq7n_U", 0.13),
    }
    assert {name: place_of(name, unit_s=0.001) for name in told} == told
    assert place_of("oPRC3zComfA_000117", unit_s=None) == Place("oPRC3zComfA", 117.0)
    assert place_of("a-rather-long-name", unit_s=1.0) is place_of("short", unit_s=1.0) is None


def test_names_of_other_collections_that_look_like_identifiers_stay(tmp_path):
    (tmp_path / "bbc.json").write_text(WAVCAPS)
    assert found_of(tmp_path / "bbc.json")[0] == ["b0RFKhbpFJA", "NHU05083168", "17"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The audio caption for the given clues could be: A dog barks.", "A dog barks."),
        ('Audio caption: "a dog barks."', "A dog barks."),
        ("Based on the clues, a possible caption is: rain falls", "Rain falls"),
        ("A man says: hello.", "A man says: hello."),
        ("A caption contest is announced.", "A caption contest is announced."),
        ("The audio caption could be:", "The audio caption could be:"),
    ],
)
def test_what_a_language_model_says_before_a_caption_is_dropped(said, kept):
    assert without_preamble(said) == kept


def test_broken_rows_are_told_and_the_others_read(tmp_path):
    (tmp_path / "train.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n1,-AbCdEfGhIj,30,an engine with muffled\n"
        "speech behind it\n2,zz0123456-9,0,water gurgles\n3,zz0123456-9,0,\n"
    )
    assert found_of(tmp_path / "train.csv") == (
        ["-AbCdEfGhIj_30000", "zz0123456-9_0"], ["wrong number of columns", "empty caption"]
    )  # fmt: skip
    (tmp_path / "strong.tsv").write_text(STRONG + "YxlGt805lTA_30000\t3.0\n")
    assert found_of(tmp_path / "strong.tsv", options=ListOptions(labels=NAMES)) == (
        ["YxlGt805lTA_30000"], ["wrong number of columns"])  # fmt: skip


def test_a_label_that_nobody_has_named_is_told_and_its_clip_kept(lists):
    names, reasons = found_of(lists / "eval_segments.csv", options=ListOptions())
    assert names == ["--4gqARaEJE_0", "--BfvyPmVMo_20000"]
    assert set(reasons) == {"unknown label"} and len(reasons) == 5
    (lists / "mid_to_display_name.tsv").write_text("/m/0bt9lr\tDog\n")
    options = list_options(lists / "eval_segments.csv")
    assert read_list(lists / "eval_segments.csv", options=options).rows[0].caption == "Dog"


def test_all_spellings_of_split_folders_are_splits(tmp_path):
    folders = {"train": "train", "val": "valid", "Validation": "valid", "eval": "test"}
    for i, folder in enumerate(folders):
        write(tmp_path / folder / "dog" / f"{i}.wav", noise(i))
    assert [(r.file.split("/")[0], r.split, r.label) for r in rows_of(tmp_path)] == [
        (name, folders[name], "dog") for name in sorted(folders)]  # fmt: skip


def test_hidden_files_are_passed_over_and_other_formats_told(tmp_path):
    write(tmp_path / "dog" / "1.wav", noise(0))
    for name in ("dog/._1.wav", ".cache/2.wav", "dog/3.M4A", "dog/1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    found = read_list(tmp_path)
    assert [row.file for row in found.rows] == ["dog/1.wav"]
    assert [(line.where, line.text) for line in found.skipped] == [
        ("dog/3.M4A", "convert it, such as with `ffmpeg -i 3.M4A 3.flac`")]  # fmt: skip


def test_a_recording_in_another_format_is_found_and_said_to_be_one(lists):
    (lists / "audio").mkdir()
    (lists / "audio" / "vfY_TJq7n_U_130.m4a").write_bytes(b"\0" * 99)
    options = list_options(lists / "val.csv", audio=lists / "audio")
    row = read_list(lists / "val.csv", options=options).rows[0]
    files = SoundFiles(lists / "audio")
    assert row.file == "vfY_TJq7n_U_130.m4a" and files.exists(row.file)
    with pytest.raises(AudioFileError, match="ffmpeg"):
        files.read(row.file)


def test_names_with_accents_are_found_however_a_computer_writes_them(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    write(tmp_path / f"{apart}.wav", noise(0))
    assert SoundFiles(tmp_path).exists(f"{composed}.wav")
    assert Recordings(tmp_path).find(composed) == f"{apart}.wav"
    write(tmp_path / apart / "x.wav", noise(1))
    assert [row.label for row in rows_of(tmp_path) if row.label] == [composed]


def test_captions_beside_a_sound_may_have_a_mark_or_be_no_text(tmp_path):
    for i, content in enumerate((b"\xef\xbb\xbfa door slams\r\n", b"caf\xe9")):
        write(tmp_path / "d" / f"{i}.wav", noise(i))
        (tmp_path / "d" / f"{i}.txt").write_bytes(content)
    found = read_list(tmp_path)
    assert [row.caption for row in found.rows] == ["a door slams", "d"]
    assert [(line.where, line.reason) for line in found.skipped] == [("d/1.txt", "not UTF-8")]


def sound_bytes(seed):
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(seed), RATE, format="WAV")
    return buffer.getvalue()


def test_names_in_tars_may_have_dots_and_capitals_and_hidden_ones_are_passed_over(tmp_path):
    make_tar(tmp_path / "x.tar", {
        "._dog.WAV": b"\0\5\x16\7", "./dog.WAV": sound_bytes(0), "dog.txt": b"a dog",
        "take.1.wav": sound_bytes(1), "take.2.wav": sound_bytes(2), "take.2.txt": b"second",
        "0.audio.wav": sound_bytes(3), "0.json": b'{"text": "whole", "Split": "val"}',
        "rain.m4a": b"\0",
    })  # fmt: skip
    found = read_list(tmp_path / "x.tar")
    assert [(row.file, row.caption) for row in found.rows] == [
        ("x.tar/dog.WAV", "a dog"), ("x.tar/take.1.wav", ""), ("x.tar/take.2.wav", "second"),
        ("x.tar/0.audio.wav", "whole"),
    ]  # fmt: skip
    assert found.rows[-1].split == "valid"
    assert [line.where for line in found.skipped] == ["x.tar/rain.m4a"]
    assert all(SoundFiles(tmp_path).exists(row.file) for row in found.rows)


BROKEN = {"0.json": [b"{not json", b'["a dog"]', b'{"duration": "long"}'], "0.txt": [b"caf\xe9"]}


@pytest.mark.parametrize(("name", "content"), [(n, c) for n, all in BROKEN.items() for c in all])
def test_a_damaged_member_of_a_tar_leaves_the_others_and_its_sound(tmp_path, name, content):
    sounds = {f"{i}.wav": sound_bytes(i) for i in range(2)}
    make_tar(tmp_path / "x.tar", {"0.wav": sounds["0.wav"], name: content, "1.txt": b"rain",
                                  "1.wav": sounds["1.wav"]})  # fmt: skip
    found = read_list(tmp_path / "x.tar")
    assert [row.caption for row in found.rows] == ["", "rain"]
    assert [line.where for line in found.skipped] == ["x.tar/0.wav"]


def test_a_tar_that_breaks_off_gives_what_came_before(tmp_path):
    make_tar(tmp_path / "x.tar", {f"{i}.wav": sound_bytes(i) for i in range(3)})
    content = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(content[: len(content) // 2])
    found = read_list(tmp_path / "x.tar")
    assert [row.file for row in found.rows] == ["x.tar/0.wav", "x.tar/1.wav"]
    assert [line.reason for line in found.skipped] == ["a tar that is damaged"]
    files = SoundFiles(tmp_path)
    assert len(files.read("x.tar/0.wav").samples) == 4000
    with pytest.raises(AudioFileError):
        files.read("x.tar/1.wav")


def test_clips_are_kept_out_by_video_name_or_file(tmp_path):
    (tmp_path / "test.csv").write_text(AUDIOCAPS)
    write(tmp_path / "own" / "dog_barking.wav", noise(0))
    (tmp_path / "own" / "held.csv").write_text("file\ndog_barking.wav\n")
    (tmp_path / "names.txt").write_text("# by hand\nmusic/3.wav\n")
    out = read_excluded([tmp_path / "test.csv", tmp_path / "own" / "held.csv",
                         tmp_path / "names.txt"])  # fmt: skip
    here = [ClipRow(file=f"YvfY_TJq7n_U_{start}.wav") for start in (130, 500)]
    here += [ClipRow(file="x.wav", source_path="tdWhHV3X25Q", source_repo="AudioSet")]
    here += [ClipRow(file="music/3.wav")]
    others = [ClipRow(file="dog_barking.wav"), ClipRow(file="0.wav"), ClipRow(file="4.wav")]
    assert out.keep([*here, *others], tmp_path) == others
    assert out.keep([ClipRow(file="own/dog_barking.wav")], tmp_path) == []
    assert not Excluded() and Excluded().keep(here) == here
    for name in ("none.csv", "empty.txt"):
        (tmp_path / "empty.txt").touch()
        with pytest.raises(InputError, match="exclude"):
            read_excluded([tmp_path / name])


BAD = [
    ("audiocaps", "val.csv", "youtube_id,caption\na,b\n"),
    ("audiocaps", "val.csv", "audiocap_id,youtube_id,start_time,caption\n1,vfY_TJq7n_U,soon,x\n"),
    ("audioset", "seg.csv", "# YTID, start_seconds, end_seconds, positive_labels\na, 1\n"),
    ("audioset-strong", "s.tsv", "segment\tlabel\na\tb\n"),
    ("audioset-weak", "s.tsv", WEAK.replace("_0\t", "\t").replace("_20000", "")),
    ("auto-acd", "a.csv", "id,text\na,b\n"),
    ("vggsound", "test.csv", "a,b,c\n"),
    ("vggsound", "test.csv", "a.mp4,dog\n"),
    ("wavcaps", "w.json", "{}"),
    ("webdataset", "a.tar", "no tar"),
    ("list", "clips.csv", "file\n"),
]


@pytest.mark.parametrize(("kind", "name", "text"), BAD)
def test_a_malformed_list_is_one_line(tmp_path, kind, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_list(tmp_path / name, kind)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value.got) + caught.value.field


def test_unknown_kinds_missing_lists_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(InputError, match="audioset-weak"):
        read_list(tmp_path, "paper")
    with pytest.raises(InputError, match="exists"):
        read_list(tmp_path / "none.csv")
    with pytest.raises(InputError, match="at least one clip"):
        read_list(tmp_path)
    with pytest.raises(InputError, match="split"):
        list_options(tmp_path, split="most")


def test_every_collection_says_what_it_reads():
    assert all(reader.__doc__ for reader in COLLECTIONS.values())
