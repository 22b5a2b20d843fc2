"""Scripts that let other projects make sounds, each run by that project's own interpreter.

A bridge imports nothing of this package: `PYTHON bridge.py LIST FOLDER [CHECKPOINT]` reads a line
of JSON per sound (name, caption, duration, seed) and writes FOLDER/NAME.wav.
"""
