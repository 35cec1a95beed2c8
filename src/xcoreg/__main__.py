"""`python -m xcoreg` is the program `xcoreg`."""

from xcoreg.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
