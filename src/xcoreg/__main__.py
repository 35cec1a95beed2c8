"""`python -m xcoreg` is the program `xcoreg`."""

from xcoreg.cli import main

if __name__ == "__main__":
    main()
