"""Make the demo detection set (handwritten digits in COCO format) and say what is in it."""

import argparse
import json
import sys
import time
from pathlib import Path

from mmptq.datasets import make_digits
from mmptq.fileio import cache_folder


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out",
        default=cache_folder() / "demo",
        help="folder to make (default: %(default)s, where the demo's configs look)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws another set")
    parser.add_argument("--force", action="store_true", help="replace a set that is there already")
    return parser.parse_args()


def summarize(root: Path) -> str:
    """Images, digits, size classes and digits per class of each split, one line per split."""
    lines = []
    for path in sorted((root / "annotations").glob("*.json")):
        data = json.loads(path.read_text())
        names = {category["id"]: category["name"] for category in data["categories"]}
        counts = dict.fromkeys(names.values(), 0)
        for annotation in data["annotations"]:
            counts[names[annotation["category_id"]]] += 1
        small = sum(annotation["area"] < 32**2 for annotation in data["annotations"])
        per_class = " ".join(f"{name}:{count}" for name, count in counts.items())
        total = len(data["annotations"])
        lines.append(
            f"{path.stem}: {len(data['images'])} images, {total} digits "
            f"({small} small, {total - small} medium), {per_class}"
        )
    return "\n".join(lines)


def main() -> int:
    """Make the set and print its summary."""
    args = parse_args()
    start = time.perf_counter()
    try:
        root = make_digits(args.out, seed=args.seed, force=args.force)
    except (ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{root} ({time.perf_counter() - start:.1f} s)")
    print(summarize(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
