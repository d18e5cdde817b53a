r"""Methods side by side on models: mAP or top-1, how far the heads end from float, what is sure.

A cell is a model, a method, bit-widths and a seed. Cells that the JSON file holds are not measured
again, and one that was killed goes on where it was, so that the command may be stopped and started
at will; several processes may share file and work dir (--models for each). A cell that fails is
noted in its folder, the others go on, and the command ends with 1. Beside the cells' file is that
of the paired 95 % intervals against float, min-max and the best choice of ranges, drawn from what
every cell found on the test images, which stays in its folder of the work dir.

A method may have iterations and options: bitshrink@300, lapq:held_out=0:bounds=(0.5,2). Its seconds
are those of statistics and steps. The distance is that of the heads' outputs to the float model's,
as a share of their variance, on images that calibration did not see.

Models are in benchmarks/comparison/models.py, methods in methods.py there. Sets lie in --data, each
in a folder of its name: bccd, cifar10, coco_subset, coco_val416, deeppcb.

  python benchmarks/methods.py --models demo_retinanet --columns W4A4 --methods minmax mmse gptq
  python benchmarks/methods.py --data data --seeds 0 1 2 --dry-run
  python benchmarks/methods.py --models resnet20 --data-root cifar10=/data/cifar10 --columns W2A2 \
      --methods bitshrink@300 direct@300 --against direct@300
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arguments import add_cells, new_parser, run
from cells import Cells
from comparison.campaign import Campaign, Failure
from comparison.columns import COLUMNS, find_columns
from comparison.groups import find_group, measured_specs
from comparison.intervals import intervals_file, refresh
from comparison.lookup import pairs
from comparison.measure import measure
from comparison.methods import DEFAULT_METHODS, METHODS
from comparison.models import DEFAULT_MODELS, MODELS, SETS, find_models
from comparison.places import Places
from comparison.plan import Cell, all_cells
from comparison.specs import Spec, find_specs
from comparison.tables import contents, to_markdown, to_text

from mmptq.errors import ConfigError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=DEFAULT_MODELS, metavar="MODEL", help=", ".join(MODELS))
    add("--columns", nargs="+", default=COLUMNS, metavar="COLUMN", help="such as W4A4")
    known = f"{', '.join(METHODS)} (default: {' '.join(DEFAULT_METHODS)})"
    add("--methods", nargs="+", metavar="METHOD", help=known)
    add("--seeds", nargs="+", type=int, default=[0], help="choices of the calibration images")
    add("--images", type=int, help="calibration images (default: the model's)")
    add("--iters", type=int, help="iterations a unit of methods that say nothing")
    add("--against", nargs="+", default=[], metavar="METHOD", help="differences to these, too")
    add("--data", type=Path, default=Path("data"), help="folder of all sets (default: data)")
    add("--data-root", nargs="+", default=[], metavar="SET=DIR", help="folder of a set")
    add("--checkpoint", nargs="+", default=[], metavar="MODEL=FILE", help="float weights")
    add("--work-dir", type=Path, default=Path("work_dirs/methods"), help="detections and logs")
    add("--dry-run", action="store_true", help="list what would be measured, and how long it takes")
    add("--again", action="store_true", help="measure cells of another recipe anew")
    add("--markdown", action="store_true", help="print the tables as Markdown")
    add_cells(parser, "methods")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a cell failed."""
    args = parse_args(argv)
    models, columns = find_models(args.models), find_columns(args.columns)
    cells, kept = Cells(args.json), Cells(intervals_file(args.json))
    specs = find_specs(args.methods or DEFAULT_METHODS, args.iters)
    against = find_specs(args.against, args.iters)
    failures: list[Failure] = []
    if not args.print_only:
        wanted = list(all_cells(models, specs, columns, args.seeds, args.images))
        places = check(args, models, specs)
        campaign = Campaign(cells, args.work_dir, again=args.again)
        if args.dry_run:
            print("\n".join(campaign.dry_run(wanted)))
            return 0
        compute = partial(measure, places=places, work_dir=args.work_dir)
        failures = campaign.run(wanted, compute)
        keep_intervals(kept, cells, args.work_dir, wanted, against)
    elif args.methods is None:
        specs = measured_specs(cells.values, models)
    tables = list(contents(cells.values, kept.values, models, columns, specs, against, args.images))
    print(to_markdown(tables) if args.markdown else to_text(tables))
    for failure in failures:
        print(f"failed: {failure.cell.name}: {failure.error}", file=sys.stderr)
    return 1 if failures else 0


def check(args: argparse.Namespace, models: Sequence[str], specs: Sequence[Spec]) -> Places:
    """Refuse what cannot work before anything runs.

    Raises:
        ConfigError: Data or weights are missing, or an option is wrong.
    """
    for name, values, least in (
        ("--seeds", args.seeds, 0),
        ("--images", [1 if args.images is None else args.images], 1),
    ):
        if min(values) < least:
            raise ConfigError(f"{name} {min(values)}: must be {least} or more")
    roots = pairs(args.data_root, "--data-root", SETS, "data set")
    weights = pairs(args.checkpoint, "--checkpoint", MODELS, "model")
    places = Places(args.data, roots, weights)
    for model in models:
        places.check(model)
        for spec in specs:
            spec.steps(MODELS[model])
    return places


def keep_intervals(
    kept: Cells, cells: Cells, work_dir: Path, wanted: Sequence[Cell], against: Sequence[Spec]
) -> None:
    """Of every row that has a cell among the wanted ones."""
    rows = {cell._replace(seed=0).name: cell for cell in wanted if cell.spec}
    for cell in rows.values():
        group = find_group(cells.values, cell.model, cell.spec, cell.column, cell.images)
        if group is not None:
            refresh(kept, cells.values, group, work_dir, against)


if __name__ == "__main__":
    run(main)
