"""``python -m langadapt``: the same command line as the ``langadapt`` script."""

from langadapt.cli.app import main

if __name__ == "__main__":
    main()
