"""The charts of README and docs, docs/images/<name>.svg, drawn from benchmarks/results/.

pages/pictures.py says which cells each shows.

  python benchmarks/docs_pictures.py            # after new cells
  python benchmarks/docs_pictures.py --check    # fails where a picture differs from the cells
"""

from arguments import ROOT, add_check, new_parser, run
from pages.pictures import PICTURES
from refresh import refresh

FOLDER = ROOT / "docs/images"


def main() -> None:
    parser = new_parser(__doc__)
    add_check(parser)
    args = parser.parse_args()
    wanted = {FOLDER / f"{name}.svg": draw() for name, draw in PICTURES.items()}
    refresh(wanted, FOLDER, args.check, "docs_pictures.py", "picture")


if __name__ == "__main__":
    run(main)
