"""Measures all that docs/benchmarks.md shows and renders it: ``python -m benchmarks.everything FOLDER``.

Each part is a command of its own, and its answer a file in the folder. A part whose file is there is not measured again:
what ended early goes on where it stood, and a part is repeated by deleting its file. Takes about an hour on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PARTS = {
    "private-sum": ("private_sum", "--json"),
    "drops": ("private_sum", "--drops", "--json"),
    "masking": ("masking", "--json"),
    "exchange": ("exchange", "--json"),
}
"""File, and the command that prints it."""


def run(folder: Path, name: str) -> bool:
    """Measure a part unless it is measured, and return whether its file is there and whole."""
    done, partial = folder / f"{name}.json", folder / f"{name}.part"
    if done.exists():
        return True
    module, *options = PARTS[name]
    if name == "private-sum":
        options += ["--details", str(folder / "private-sum-details.json")]
    with partial.open("wb") as answer:
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], stdout=answer, check=False)
    if code.returncode == 0:
        partial.replace(done)
    return code.returncode == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, then render what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the measured files are kept")
    parser.add_argument("--out", type=Path, help="the page; docs/benchmarks.md unless told")
    parser.add_argument("--note", default="", help="what a reader has to know about the run")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    whole = [run(options.folder, name) for name in PARTS]
    arguments = ["--private-sum", str(options.folder / "private-sum-details.json")]
    for name in ("drops", "exchange", "masking"):
        if (options.folder / f"{name}.json").exists():
            arguments += [f"--{name}", str(options.folder / f"{name}.json")]
    if options.note:
        arguments += ["--note", options.note]
    if options.out is not None:
        arguments += ["--out", str(options.out)]
    rendered = subprocess.run([sys.executable, "-m", "benchmarks.report", *arguments], check=False)
    return rendered.returncode or int(not all(whole))


if __name__ == "__main__":
    sys.exit(main())
