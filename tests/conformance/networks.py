"""The networks of the conformance test: classifiers of other packages, with a few images."""

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from tests.conformance.families import FOLDER, dicts
from tests.conformance.project import FamilyProject, build_float
from tests.conformance.recipes import FamilyRun
from tests.tiny_project import REPO, draw

# So many that the logits of an image differ by more than chance has it.
CLASSES = tuple(f"class_{i:02}" for i in range(16))
WRAPPERS = {"timm": "mmptq.TimmClassifier", "torchvision": "mmptq.TorchvisionClassifier"}


@dataclass(frozen=True)
class Network:
    """An entry of ``classifiers.yaml``, which documents them.

    Args:
        package: Which has it.
        config: What the package calls it.
        model: Further keys of ``cfg.model``, dotted.
        size: Side of the images.
        in_float: Kinds of multiply-adds that stay in float.
        quick: Whether it belongs to the quick subset.
    """

    package: str
    config: str
    model: Mapping[str, Any] = field(default_factory=dict)
    size: int = 64
    in_float: Sequence[str] = ()
    quick: bool = False

    @property
    def name(self) -> str:
        """The package's name and its own, without what a stock config says of its training."""
        own = self.config.rpartition("/")[2]
        return f"{self.package}-{own.partition('_')[0] if '/' in self.config else own}"

    def require(self) -> None:
        """Skip the test where the package cannot be imported."""
        try:
            importlib.import_module(self.package)
        except Exception as error:  # torchvision's operators, of another torch, raise anything
            pytest.skip(f"{self.package} cannot be imported ({error}): see docs/install.md")

    def load(self, images: Path) -> Config:
        """A config of it with ``images``, without weights."""
        cfg = self._stock() if self.package == "mmpretrain" else self._named()
        cfg.merge_from_dict({f"model.{key}": value for key, value in self.model.items()})
        for key in ("train", "val", "test"):
            cfg[f"{key}_dataloader"] = copy.deepcopy(cfg.test_dataloader)
            loader = cfg[f"{key}_dataloader"]
            loader.update(num_workers=0, persistent_workers=False, batch_size=2)
            loader.dataset.update(data_root=f"{images}/")
        return cfg

    def _named(self) -> Config:
        """Of a package whose networks have names."""
        cfg = Config.fromfile(REPO / "configs/classification/_base_/image_folders.py")
        cfg.default_scope = "mmdet"
        cfg.test_dataloader.dataset.update(
            data_prefix={"img": ""},
            pipeline=[{"type": "LoadImageFromFile"}, {"type": "mmptq.PackClassInputs"}],
        )
        cfg.test_evaluator.topk = (1,)
        cfg.model = {"type": WRAPPERS[self.package], "model_name": self.config}
        cfg.model.update(image_size=self.size, num_classes=len(CLASSES))
        return cfg

    def _stock(self) -> Config:
        """A stock config of mmpretrain, with mmpretrain's own data set and pipeline."""
        root = Path(importlib.import_module("mmpretrain").__file__ or "").parent / ".mim/configs"
        cfg = Config.fromfile(root / f"{self.config}.py")
        pipeline = [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}]
        cfg.test_dataloader.dataset = {"type": "CustomDataset", "pipeline": pipeline}
        cfg.test_evaluator = {"type": "Accuracy", "topk": (1,)}
        for entry in (*dicts(cfg.model), cfg.data_preprocessor):
            if "num_classes" in entry:
                entry["num_classes"] = len(CLASSES)
        # The runner fills it in, and a model that is built of the dumped config alone lacks it.
        cfg.model.data_preprocessor = {"type": "ClsDataPreprocessor", **cfg.data_preprocessor}
        cfg.model.train_cfg = None  # mixes images for a training
        return cfg


def load_networks() -> list[Network]:
    """All entries of the file."""
    content = yaml.safe_load((FOLDER / "classifiers.yaml").read_text())
    return [
        Network(package, config, **entry)
        for package, entries in content.items()
        for config, entry in entries.items()
    ]


class NetworkRun(FamilyRun):
    """The runs of a network's recipes.

    Args:
        network: Which.
        folder: An empty one.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        self.family, self._folder = network, folder
        make_images(folder / "images", network.size)
        cfg = network.load(folder / "images")
        cfg.load_from = str(folder / "float.pth")
        torch.save(build_float(cfg, {}).state_dict(), cfg.load_from)
        self.project = FamilyProject(cfg, Path(cfg.load_from))

    def scores(self, model: nn.Module) -> Tensor:
        """What ``model`` gives each validation image and class."""
        with torch.no_grad():
            found = model.test_step(pseudo_collate(copy.deepcopy(self.samples)))
        return torch.stack([sample.pred_score for sample in found])


def make_images(root: Path, size: int) -> None:
    """A square image of each class, in a folder a class."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / "0.png"), draw(rng, size, size))
