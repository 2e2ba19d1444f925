"""`hashslot` and `python -m hashslot`: finds the three floors, puts them on the path, and hands over to `node.cli`."""

from __future__ import annotations

import sys
from pathlib import Path


def floors() -> Path:
    """The folder with gossip/, cluster/ and node/: beside this file, or the checkout's root in an editable install."""
    here = Path(__file__).resolve().parent
    installed = here / "floors"
    return installed if installed.is_dir() else here.parents[2]


def main() -> None:
    """The `hashslot` command."""
    sys.path.insert(0, str(floors()))
    from node.cli import main as run

    run()


if __name__ == "__main__":
    main()
