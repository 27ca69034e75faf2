"""Table and drawing of runs with different bottlenecks: collapse.md, collapse.json, collapse.svg, collapse.png.

Example: python recipes/collapse/compare.py work/collapse/quantized-0 work/collapse/gaussian-0 --out comparison
"""

import argparse
import shlex
import sys
from pathlib import Path

from audio_vq.analysis.collapse import write_comparison
from audio_vq.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        print(write_comparison(arguments.runs, arguments.out, shlex.join(["python", *sys.argv])), end="")
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
