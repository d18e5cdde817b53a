"""The charts of README and docs, docs/images/<name>.svg, drawn from benchmarks/results/.

pages/pictures.py says which cells each shows.

  python benchmarks/docs_pictures.py            # after new cells
  python benchmarks/docs_pictures.py --check    # fails where a picture differs from the cells
"""

import sys

from arguments import ROOT, new_parser
from pages.pictures import PICTURES

from mmptq.errors import MmptqError
from mmptq.fileio import atomic_write

FOLDER = ROOT / "docs/images"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    args = parser.parse_args()
    wanted = {FOLDER / f"{name}.svg": draw() for name, draw in PICTURES.items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    names = "\n".join(path.name for path in stale)
    if args.check and stale:
        raise MmptqError(f"run python benchmarks/docs_pictures.py, these are stale:\n{names}")
    for path in stale:
        with atomic_write(path) as file:
            file.write(wanted[path].encode())
    print(names or "every picture is up to date")


if __name__ == "__main__":
    try:
        main()
    except MmptqError as error:
        sys.exit(f"error: {error}")
