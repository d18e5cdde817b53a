r"""LAPQ's tables on CIFAR-10 in the paper's protocol: top-1, cross-entropy, seconds.

One step a tensor, first and last layer in float, ReLU outputs quantized; losses are the mean
cross-entropy on the calibration images and on 512 other training images.

    --table 1    minmax, MMSE, KLD, ACIQ and LAPQ at W4A4, W32A4, W4A32 and the paper's bit-widths
    --table 3    random, layer-wise, layer-wise and quadratic start, before and after the search
    --table 4    bias correction, on MMSE and on LAPQ
    --table B.2  LAPQ over the number of calibration images

It runs benchmarks/lapq/tables.py on a config of configs/classification/; further options are those
of that command. Cells that the JSON file holds are not measured again.

  python benchmarks/classification/lapq.py --data-root data/cifar10 --table 3
  python benchmarks/classification/lapq.py --table 1 --models resnet56 --images 512 --bits 4/4
"""

import sys
from pathlib import Path

# In place of this folder, whose lapq.py would be found before the folder lapq/.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from arguments import ROOT, new_parser  # noqa: E402
from classification.common import MODELS  # noqa: E402
from lapq import tables  # noqa: E402

BITS = ("4/4", "32/4", "4/32", "8/4", "8/3", "8/2")
IMAGES = {"B.2": (16, 64, 256, 512, 1024)}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--table", choices=("1", "3", "4", "B.2"), required=True)
    parser.add_argument("--data-root", default="data/cifar10", help="images and float models")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet20"])
    parser.add_argument("--bits", nargs="+", help="weights/activations, 32 for float")
    parser.add_argument("--images", nargs="+", type=int, help="calibration images")
    parser.add_argument("--others", type=int, default=512, help="other training images")
    args, rest = parser.parse_known_args()
    bits = args.bits or (BITS if args.table == "1" else ("4/4",))
    images = args.images or IMAGES.get(args.table, (256, 512))
    for model in args.models:
        config = ROOT / f"configs/classification/{MODELS[model]}_w4a4_lapq.py"
        command = [str(config), "--table", args.table, "--data-root", args.data_root]
        command += ["--bits", *bits, "--images", *map(str, images), "--others", str(args.others)]
        command += ["--objective", "CrossEntropy", "--work-dir", "work_dirs/cifar10_lapq"]
        command += ["--json", str(ROOT / "benchmarks/results/cifar10_lapq.json"), *rest]
        tables.main(command)


if __name__ == "__main__":
    main()
