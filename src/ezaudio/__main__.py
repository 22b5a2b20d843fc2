"""`python -m ezaudio`: the same as the command `ezaudio`."""

from ezaudio.cli.main import main

if __name__ == "__main__":
    main()
