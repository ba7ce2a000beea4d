"""``python -m twin``: the same as ``colossus``."""

from twin.cli import main

if __name__ == "__main__":
    main()
