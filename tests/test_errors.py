import pickle

import pytest

from ezaudio import errors
from ezaudio.errors import Cancelled, EzAudioError, InputError


def test_an_input_error_names_the_field_what_came_and_what_is_allowed():
    error = InputError("steps", 0, "an integer from 1 to 1000")
    assert str(error) == "`steps`: got 0; allowed: an integer from 1 to 1000."
    assert (error.field, error.got, error.allowed) == ("steps", 0, "an integer from 1 to 1000")
    assert isinstance(error, ValueError)


def test_a_long_value_is_shortened_and_a_message_is_always_one_line():
    message = str(InputError("prompt", "a\n" * 10_000, "1 to 1000 characters"))
    assert "\n" not in message
    assert len(message) < 140
    assert str(EzAudioError("two\nlines")) == "two lines"


def test_an_input_error_survives_pickling():
    error = pickle.loads(pickle.dumps(InputError("steps", 0, "1 to 1000")))
    assert str(error) == "`steps`: got 0; allowed: 1 to 1000."


@pytest.mark.parametrize(
    "name", ["InputError", "AudioFileError", "CheckpointError", "DownloadError", "OutputError"]
)
def test_errors_that_the_user_can_mend_leave_with_code_2(name):
    assert getattr(errors, name).exit_code == 2
    assert issubclass(getattr(errors, name), EzAudioError)


def test_cancelling_leaves_as_ctrl_c_does():
    assert Cancelled().exit_code == 130
    assert EzAudioError("x").exit_code == 1
