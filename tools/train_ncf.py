"""Train a float NeuMF on MovieLens-1M, as configs/recommendation/_base_/ncf_ml1m.py says.

From random weights, or from --start: NeuMF's own weights, such as tools/ncf_from_keras.py makes of
the public GMF and MLP. The checkpoint has MMEngine's ordinary form; HR@10 and NDCG@10 at the end
are those of the saved weights.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from training import SEED, change_config

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/recommendation/_base_/ncf_ml1m.py"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=CONFIG, help="float config")
    parser.add_argument("--work-dir", default="work_dirs/train_ncf")
    parser.add_argument("--epochs", type=int, help="default: as the config says")
    parser.add_argument("--data-root", help="where both files of the split are")
    parser.add_argument("--start", help="float checkpoint to begin with")
    parser.add_argument("--workers", type=int, help="processes that read; default: the config's")
    parser.add_argument("--out", type=Path, default=Path("data/ml-1m/neumf.pth"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The float config with what the command line changes."""
    cfg = Config.fromfile(args.config)
    change_config(cfg, args.work_dir, args.epochs, args.data_root)
    cfg.load_from = args.start
    cfg.default_hooks.pop("visualization", None)  # it draws boxes
    if args.workers is not None:
        cfg.train_dataloader.update(num_workers=args.workers, persistent_workers=args.workers > 0)
    return cfg


def main() -> int:
    """Train, save, and test what was saved."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    runner = Runner.from_cfg(load_config(args))
    model = runner.train()
    state = {name: value.cpu() for name, value in model.state_dict().items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": {"seed": SEED}, "state_dict": state}, args.out)
    model.load_state_dict(torch.load(args.out, map_location="cpu", weights_only=True)["state_dict"])
    metrics = runner.test()
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")
    for key, value in metrics.items():
        print(f"{key}: {value:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
