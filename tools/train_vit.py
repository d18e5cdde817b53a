"""Train a small float vision transformer on the demo classification set, and save it small.

The checkpoint has MMEngine's ordinary form and float16 weights; the accuracy printed at the end is
that of the saved weights.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from train_demo import CHECKPOINTS, ROOT, save_small
from training import SEED, change_config

CONFIGS = ROOT / "configs/classification/_base_"
# Where their weights lie; what is not of the demo is in the clone and not in the wheel.
MODELS = {"vit_digits": CHECKPOINTS, "vit_long_digits": ROOT / "checkpoints/digits"}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", choices=list(MODELS), default="vit_digits", help="default: %(default)s"
    )
    parser.add_argument("--work-dir", help="default: work_dirs/train_MODEL")
    parser.add_argument("--epochs", type=int, help="default: as the config says")
    parser.add_argument("--data-root", help="where the demo set is or is to be made")
    parser.add_argument("--out", help="default: checkpoints/demo/ or digits/MODEL.pth")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The float config with what the command line changes."""
    cfg = Config.fromfile(CONFIGS / f"{args.model}.py")
    change_config(
        cfg, args.work_dir or f"work_dirs/train_{args.model}", args.epochs, args.data_root
    )
    cfg.load_from = None
    cfg.default_hooks.pop("visualization", None)  # it draws boxes
    return cfg


def main() -> int:
    """Train, save, and test what was saved."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    runner = Runner.from_cfg(load_config(args))
    model = runner.train()
    path = Path(args.out) if args.out else MODELS[args.model] / f"{args.model}.pth"
    meta = {"dataset_meta": dict(runner.train_dataloader.dataset.metainfo), "seed": SEED}
    save_small(model.state_dict(), path, meta)
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["state_dict"])
    metrics = runner.test()
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")
    for key, value in metrics.items():
        print(f"{key}: {value:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
