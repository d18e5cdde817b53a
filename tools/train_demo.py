"""Train a float demo detector with stock MMDetection, and save it small.

The checkpoint has MMEngine's ordinary form, holds only plain tensors, strings, lists and dicts
(so that it loads with ``weights_only``), and float16 weights; the mAP printed at the end is that of
the saved weights.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from training import SEED, change_config

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / "checkpoints/demo"
# Where their weights lie; what is not of the demo is in the clone and not in the wheel.
MODELS = {
    "retinanet": CHECKPOINTS,
    "faster_rcnn": CHECKPOINTS,
    "retinanet_swin": ROOT / "checkpoints/digits",
    "dino": ROOT / "checkpoints/digits",
}
# Whose weights of equal names and shapes a training starts from; MMEngine logs the others.
START = {"retinanet": "faster_rcnn", "retinanet_swin": "retinanet", "dino": "retinanet"}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("--work-dir", help="default: work_dirs/train_demo_MODEL")
    parser.add_argument("--epochs", type=int, help="default: as the config says")
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="start from random weights, too, not from what fits of another demo detector: "
        "backbone and neck (RetinaNet), neck and head (on Swin), each of which then needs more "
        "epochs, or the backbone (DINO, which does not train it)",
    )
    parser.add_argument("--data-root", help="where the demo set is or is to be made")
    parser.add_argument("--out", help="default: checkpoints/demo/ or digits/MODEL_digits.pth")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="multiply in bfloat16 while training; nearly twice as fast where the CPU can do it",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The float demo config with what the command line changes."""
    cfg = Config.fromfile(ROOT / f"configs/demo/_base_/{args.model}_digits.py")
    work_dir = args.work_dir or f"work_dirs/train_demo_{args.model}"
    change_config(cfg, work_dir, args.epochs, args.data_root)
    cfg.load_from = None
    if args.model in START and not args.from_scratch:
        cfg.load_from = str(CHECKPOINTS / f"{START[args.model]}_digits.pth")
    if args.data_root:
        for key in ("val_evaluator", "test_evaluator"):
            cfg[key].ann_file = str(Path(args.data_root) / "annotations/val.json")
    return cfg


def save_small(weights: dict[str, torch.Tensor], path: Path, meta: dict[str, Any]) -> None:
    """Write a checkpoint with float16 weights; integer buffers stay as they are."""
    state = {
        name: value.cpu().half() if value.is_floating_point() else value.cpu()
        for name, value in weights.items()
    }
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{name} does not fit float16")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": meta, "state_dict": state}, path)


def train(runner: Runner, bfloat16: bool) -> torch.nn.Module:
    """Train; losses and weights are in float32 in either case."""
    if bfloat16:
        for name, layer in runner.model.named_modules():
            if name.endswith(("_cls", "_reg")):  # MMDetection's names of layers that predict
                layer.register_forward_hook(lambda _layer, _inputs, output: output.float())
    # Without the cache, which would keep the first iteration's weights.
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        return runner.train()


def main() -> int:
    """Train, save, and test what was saved."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    cfg = load_config(args)
    runner = Runner.from_cfg(cfg)
    model = train(runner, args.bfloat16)
    dataset_meta = dict(runner.train_dataloader.dataset.metainfo)
    path = Path(args.out) if args.out else MODELS[args.model] / f"{args.model}_digits.pth"
    save_small(model.state_dict(), path, {"dataset_meta": dataset_meta, "seed": SEED})
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["state_dict"])
    metrics = runner.test()
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")
    for key in ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m"):
        # CocoMetric gives nothing at all for a model that finds nothing.
        print(f"{key}: {metrics.get(f'coco/{key}', 0.0):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
