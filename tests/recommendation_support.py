"""A small recommendation project of a user's: made ratings, a config, float weights.

Each user chose the items whose float logits are highest, and the best of them is held out: so the
float model's hit rate is 100 %, and quantization lowers it as it lowers a trained model's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmptq.recommenders import NeuMF
from tests.tiny_project import REPO

USERS, ITEMS, CHOSEN, OTHERS = 24, 40, 6, 20
SIZES: dict[str, Any] = dict(num_users=USERS, num_items=ITEMS, gmf_dims=4, mlp_widths=(8, 6, 4))


@dataclass(frozen=True)
class PairsProject:
    """Where its parts are."""

    root: Path

    def load(self, name: str, work_dir: Path, **changes: Any) -> Config:
        """A config of ``configs/recommendation/`` on the project's data, run in ``work_dir``."""
        cfg = Config.fromfile(REPO / f"configs/recommendation/{name}.py")
        cfg.work_dir, cfg.launcher = str(work_dir), "none"
        cfg.load_from = str(self.root / "neumf.pth")
        cfg.model.update(SIZES)
        for loader in ("train_dataloader", "calib_dataloader", "test_dataloader", "val_dataloader"):
            cfg[loader].dataset.update(data_root=f"{self.root}/", num_users=USERS, num_items=ITEMS)
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=32)
        if "calib_cfg" in cfg:  # else it is the float config
            cfg.calib_cfg.update(num_images=60, batch_size=20)
        cfg.merge_from_dict(changes)
        return cfg


def neumf(seed: int = 0) -> NeuMF:
    """A model whose pairs differ: embeddings of its own initialisation are all but 0."""
    model = NeuMF(**SIZES).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def make_pairs_project(root: Path) -> PairsProject:
    """Write a project into the empty folder ``root``."""
    model = neumf()
    users = torch.arange(USERS)[:, None].expand(USERS, ITEMS)
    items = torch.arange(ITEMS).expand(USERS, ITEMS)
    order = model.logits(users, items).argsort(dim=1, descending=True)
    train = [f"{u}\t{i}\t5\t97830000{i}" for u in range(USERS) for i in order[u, 1:CHOSEN].tolist()]
    test = [
        "\t".join([f"({u},{int(order[u, 0])})", *map(str, order[u, -OTHERS:].tolist())])
        for u in range(USERS)
    ]
    (root / "ml-1m.train.rating").write_text("\n".join(train) + "\n")
    (root / "ml-1m.test.negative").write_text("\n".join(test) + "\n")
    torch.save(model.state_dict(), root / "neumf.pth")
    return PairsProject(root)
