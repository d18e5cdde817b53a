"""MMSE and LAPQ on NCF (LAPQ, table 2): hit rates with their 95 % intervals, and the loss.

Weights and data as configs/recommendation/ has them, in --data-root. --held-out-users N calibrates
on the test lists of the first N users, cut into samples of one chosen item and 4 others, and tests
on the other users: for who has the public test lists alone. The interval is that of the mean
difference to the float model over the test users; the loss is the binary cross-entropy of the
calibration pairs. In the row "float, rescaled" every logit x is a x + b with the a and b of the
least loss: what can be gained of the loss without a change of any rank.

  python benchmarks/ncf.py --data-root data/ml-1m
  python benchmarks/ncf.py --data-root data/ml-1m --held-out-users 500 --bits W8A8 W4A8 --steps row
"""

import argparse
import math
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from arguments import ROOT, add_choices, add_seed, add_threads, new_parser, run
from markdown_table import head, row
from mmengine.config import Config
from mmengine.hooks import Hook
from scipy.optimize import minimize
from silence import quiet

from mmptq.apis.state import restored_state
from mmptq.engine import CalibrationContext, LossEvaluator, float_form
from mmptq.errors import ConfigError
from mmptq.evaluation.ranking import rank_of
from mmptq.runner import CalibrationRunner
from mmptq.runner.prepare_config import set_data_root
from mmptq.structures import pair_labels_of

CONFIGS = ROOT / "configs/recommendation"
# What each network takes of the config's model, and its weights in the data folder.
MODELS = {"NeuMF": ("gmf_dims", "mlp_widths"), "GMF": ("gmf_dims",), "MLP": ("mlp_widths",)}
# Method -> config's recipe, and the objective of its search.
METHODS = {
    "minmax": ("mmse", None),
    "mmse": ("mmse", None),
    "lapq": ("lapq", "TaskLoss"),
    "lapq_no_labels": ("lapq", "OutputDistance"),
}
TITLES = {"minmax": "min-max", "mmse": "MMSE", "lapq": "LAPQ", "lapq_no_labels": "LAPQ, no labels"}
TOP = 10
COLUMNS = ("model", "steps", "bits", "method", "HR@10", "vs float", "NDCG@10", "loss", "seconds")


class Found(NamedTuple):
    """A model on the test users.

    Args:
        ranks: Of each user's chosen item.
        loss: Of the calibration pairs.
        seconds: Of statistics and steps.
        rescaled_loss: The least loss of ``a x + b`` in place of the logits ``x``; of a float model.
    """

    ranks: np.ndarray
    loss: float
    seconds: float = 0.0
    rescaled_loss: float = math.nan

    @property
    def hits(self) -> np.ndarray:
        """1 where a user's item is among the first, in percent."""
        return 100.0 * (self.ranks < TOP)

    @property
    def gain(self) -> float:
        """NDCG in percent."""
        return float(np.where(self.ranks < TOP, 100.0 / np.log2(self.ranks + 2.0), 0.0).mean())


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--data-root", required=True, help="of the split, with neumf.pth (gmf.pth, mlp.pth)")
    add("--models", nargs="+", choices=MODELS, default=["NeuMF"])
    add("--steps", nargs="+", choices=("tensor", "row"), default=["tensor"], help="of weights")
    add("--bits", nargs="+", default=["W32A8", "W8A32", "W8A8"], help="such as W8A8")
    add_choices(parser, methods=METHODS)
    add("--held-out-users", type=int, default=0, metavar="N", help="see above")
    add_seed(parser)
    add_threads(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    for bits in args.bits:
        parse_bits(bits)
    print(head(COLUMNS), flush=True)
    for cells in rows(args):
        print(row(cells), flush=True)


def rows(args: argparse.Namespace) -> Iterator[list[str]]:
    """Lines of the table, as they are measured."""
    for model in args.models:
        reference: Found | None = None
        for steps in args.steps:
            for bits in args.bits:
                for method in args.methods:
                    cfg = read_config(args, model, steps, bits, method)
                    floating, found = measure(cfg, reference is None)
                    if reference is None:
                        assert floating is not None
                        reference = floating
                        yield cells(reference, reference, model, "", "W32A32", "float")
                        rescaled = reference._replace(loss=reference.rescaled_loss)
                        yield cells(rescaled, rescaled, model, "", "W32A32", "float, rescaled")
                    yield cells(found, reference, model, steps, bits, TITLES[method])


def cells(found: Found, reference: Found, model: str, *names: str) -> list[str]:
    """A line of the table."""
    difference = "" if found is reference else interval(found.hits - reference.hits)
    seconds = "" if found is reference else f"{found.seconds:.0f}"
    rate, gain = f"{found.hits.mean():.2f}", f"{found.gain:.2f}"
    return [model, *names, rate, difference, gain, f"{found.loss:.4f}", seconds]


def interval(differences: np.ndarray) -> str:
    """Mean of paired differences with its normal 95 % interval."""
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
    return f"{differences.mean():+.2f} ± {half:.2f}"


def parse_bits(text: str) -> list[int | None]:
    """Bits of weights and activations of ``W4A8``, None for 32.

    Raises:
        ConfigError: It has another form.
    """
    found = re.fullmatch(r"W(\d+)A(\d+)", text)
    if found is None or text == "W32A32":
        raise ConfigError(f"--bits {text}: must be such as W8A8, with 32 for float")
    return [None if number == "32" else int(number) for number in found.groups()]


def read_config(args: argparse.Namespace, model: str, steps: str, bits: str, method: str) -> Config:
    """The config of a line, silent."""
    recipe, objective = METHODS[method]
    cfg = Config.fromfile(CONFIGS / f"ncf_ml1m_w8a8_{recipe}.py")
    set_data_root(cfg, args.data_root)
    cfg.load_from = str(Path(args.data_root) / f"{model.lower()}.pth")
    for key in ("gmf_dims", "mlp_widths"):
        if key not in MODELS[model]:
            cfg.model.pop(key)
    cfg.model.recommender_type = f"mmptq.{model}"
    for key, number in zip(("weight", "act"), parse_bits(bits), strict=True):
        cfg.qconfig[key] = None if number is None else {**cfg.qconfig[key], "num_bits": number}
    if cfg.qconfig.weight is not None:
        cfg.qconfig.weight.per_channel = steps == "row"
    if method == "minmax":
        cfg.calib_cfg.steps = [dict(type="RangeCalibration")]
    for step in cfg.calib_cfg.steps if objective else ():
        step.objective = dict(type=objective)
    cfg.calib_cfg.seed = args.seed
    if args.held_out_users:
        hold_out(cfg, args.held_out_users)
    cfg.calib_hooks = dict.fromkeys(("pictures", "save", "logging", "progress", "report"))
    cfg.launcher, cfg.log_level = "none", "WARNING"
    return cfg


def hold_out(cfg: Config, count: int) -> None:
    """Calibrate on the lists of the first ``count`` users, test on those of the others."""
    cfg.calib_dataloader.dataset.update(
        type="mmptq.CandidateLists",
        ann_file=cfg.test_dataloader.dataset.ann_file,
        users=(0, count),
    )
    cfg.test_dataloader.dataset.users = (count, cfg.num_users)


def measure(cfg: Config, with_float: bool) -> tuple[Found | None, Found]:
    """The float model, if wanted, and the quantized one."""
    with tempfile.TemporaryDirectory() as folder, restored_state(), quiet():
        cfg.work_dir = folder
        runner = CalibrationRunner.from_cfg(cfg)
        ranks = KeepRanks()
        runner.register_hook(ranks)
        context = runner.setup()
        start = time.perf_counter()
        runner.prepare_model(context)
        seconds = time.perf_counter() - start + runner.run_recipe(context)
        loss = LossEvaluator(context, {"type": "TaskLoss"}, incremental=False)

        def found(*more: float) -> Found:
            runner.evaluate("model")
            return Found(np.array(ranks.ranks), loss(), *more)

        quantized = found(seconds)
        with float_form(runner.model):
            return (found(0.0, rescaled_loss(context)) if with_float else None), quantized


@torch.no_grad()
def rescaled_loss(context: CalibrationContext) -> float:
    """The least mean cross-entropy of ``a x + b`` over the calibration pairs' logits ``x``."""
    logits, labels = [], []
    for _, batch in context.data:
        data = context.adapter.preprocess(batch, with_labels=True)
        logits.append(context.adapter.raw_outputs(data["inputs"])[0].double().flatten())
        labels.append(pair_labels_of(data["data_samples"], torch.device("cpu")).flatten())
    x, chosen = torch.cat(logits).cpu().numpy(), torch.cat(labels).double().numpy()

    def loss(scale: np.ndarray) -> float:
        z = scale[0] * x + scale[1]
        return float(np.mean(np.logaddexp(0.0, z) - chosen * z))

    return float(minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").fun)


class KeepRanks(Hook):
    """Keeps the rank of each test user's chosen item."""

    def __init__(self) -> None:
        self.ranks: list[int] = []

    def before_test_epoch(self, runner: Any) -> None:
        """Begin anew."""
        self.ranks = []

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep those of a batch, as the evaluator ranks them."""
        self.ranks += [rank_of(s.pred_scores, s.gt_labels) for s in outputs]


if __name__ == "__main__":
    run(main)
