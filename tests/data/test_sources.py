"""Lists of published collections. The quoted rows are from AudioCaps (MIT, AudioCaps authors),
AudioSet (CC BY 4.0, Google) and VGGSound (CC BY 4.0, University of Oxford).
"""

import io
import json
import tarfile

import pytest
import soundfile
from tests.data.conftest import RATE, noise, write

from ezaudio.data.sounds import SoundFiles
from ezaudio.data.sources import (
    SOURCES,
    SourceOptions,
    kind_of,
    read_label_names,
    read_source,
    root_of,
)
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
NAMES = {"/m/068hy": "Domestic animals, pets", "/m/0bt9lr": "Dog", "/m/03l9g": "Hammer"}
LISTS = {
    "audiocaps": ("val.csv", AUDIOCAPS),
    "audioset": ("eval_segments.csv", AUDIOSET),
    "audioset-weak": ("audioset_weak_eval.tsv", WEAK),
    "audioset-strong": ("audioset_train_strong.tsv", STRONG),
    "vggsound": ("test.csv", VGGSOUND),
    "list": ("clips.csv", "file,label\na.wav,rain\n"),
}


@pytest.fixture
def lists(tmp_path):
    for name, text in LISTS.values():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_recognised_and_read(lists, kind):
    path = lists / LISTS[kind][0]
    assert kind_of(path) == kind
    rows = read_source(path, options=SourceOptions(names=NAMES))
    assert rows == read_source(path, kind, SourceOptions(names=NAMES)) and rows[0].file
    other = read_source(path, options=SourceOptions(split="test"))
    assert {row.split for row in other} == {"test"}


def test_captions_of_one_recording_are_one_clip(lists):
    first, second = read_source(lists / "val.csv")
    assert first.caption.startswith("Rustling") and first.captions[0].startswith("Birds chirp")
    assert (first.split, first.start, first.end, first.source_path) == (
        "valid", 130, 140, "vfY_TJq7n_U")  # fmt: skip
    assert second.captions == ()


def test_labels_of_audioset_get_their_names(lists):
    options = SourceOptions(names=NAMES)
    segment = read_source(lists / "eval_segments.csv", options=options)[0]
    assert segment.tags[:1] == ("Domestic animals, pets",) and segment.tags[2] == "Dog"
    assert segment.label == "Domestic animals, pets" and segment.split == "test"
    weak = read_source(lists / "audioset_weak_eval.tsv", options=options)
    assert [(row.start, row.tags) for row in weak] == [
        (0.0, ("Domestic animals, pets", "Dog")), (20.0, ("Hammer",))]  # fmt: skip


def test_strong_labels_are_events_in_order(lists):
    (row,) = read_source(lists / "audioset_train_strong.tsv", options=SourceOptions(names=NAMES))
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
    options = SourceOptions(audio=lists / "audio")
    rows = read_source(lists / "val.csv", options=options)
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
    rows = {row.file: row for row in read_source(tmp_path)}
    one = rows["train/dog_barking/1.wav"]
    assert (one.split, one.label, one.caption, one.captions) == (
        "train", "dog barking", "A dog barks.", ("Barking.",))  # fmt: skip
    assert rows["valid/rain/x.flac"].split == "valid"
    assert rows["valid/rain/x.flac"].caption == "rain"
    assert rows["train/dog_barking/2.WAV"].label == "dog barking"
    assert rows["y.ogg"].label == ""
    assert root_of(tmp_path, SourceOptions()) == tmp_path


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
    rows = read_source(tars)
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
    rows = read_source(tars / "a-000.tar")
    assert len(rows) == 2
    assert SoundFiles(root_of(tars / "a-000.tar", SourceOptions())).exists(rows[0].file)


BAD = [
    ("audiocaps", "val.csv", "youtube_id,caption\na,b\n"),
    ("audiocaps", "val.csv", AUDIOCAPS.replace(",60,", ",soon,")),
    ("audioset", "seg.csv", "# YTID, start_seconds, end_seconds, positive_labels\na, 1\n"),
    ("audioset-strong", "s.tsv", STRONG.replace("_30000", "")),
    ("vggsound", "test.csv", "a,b,c\n"),
    ("vggsound", "test.csv", "a.mp4,dog\n"),
    ("webdataset", "a.tar", "no tar"),
    ("list", "clips.csv", "file\n"),
]


@pytest.mark.parametrize(("kind", "name", "text"), BAD)
def test_a_malformed_list_is_one_line(tmp_path, kind, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_source(tmp_path / name, kind)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value.got) + caught.value.field


def test_unknown_kinds_missing_lists_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(InputError, match="audioset-weak"):
        read_source(tmp_path, "paper")
    with pytest.raises(InputError, match="exists"):
        read_source(tmp_path / "none.csv")
    with pytest.raises(InputError, match="at least one clip"):
        read_source(tmp_path)


def test_every_source_says_what_it_reads():
    assert all(reader.__doc__ for reader in SOURCES.values())
