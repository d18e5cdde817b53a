"""Keras' NCF weights, made with h5py: the converted models against the formulas with matrices."""

import sys
from pathlib import Path
from typing import Any

import ncf_from_keras
import numpy as np
import pytest
import torch

from mmptq.recommenders import GMF, MLP, NeuMF

h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install 'mmptq[ncf]'")

USERS, ITEMS = 5, 6
SIZES = dict(num_users=USERS, num_items=ITEMS)
RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


GMF_LAYERS = {
    "item_input": [],
    "user_embedding": [draw(USERS, 3)],
    "item_embedding": [draw(ITEMS, 3)],
    "prediction": [draw(3, 1), draw(1)],
}
MLP_LAYERS = {
    "user_embedding": [draw(USERS, 2)],
    "item_embedding": [draw(ITEMS, 2)],
    "layer1": [draw(4, 3), draw(3)],
    "layer2": [draw(3, 2), draw(2)],
    "prediction": [draw(2, 1), draw(1)],
}


def write(path: Path, layers: dict[str, list[np.ndarray]], group: str | None = None) -> Path:
    with h5py.File(path, "w") as file:
        root: Any = file if group is None else file.create_group(group)
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            names = [f"{name}_{kind}" for kind, _ in zip("Wb", arrays, strict=False)]
            root.create_group(name).attrs["weight_names"] = [text.encode() for text in names]
            for text, array in zip(names, arrays, strict=True):
                root[name][text] = array
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    mlp = write(tmp_path / "mlp.h5", MLP_LAYERS, group="model_weights")
    return {"gmf": write(tmp_path / "gmf.h5", GMF_LAYERS), "mlp": mlp}


def gmf_logits(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    layers = {name: arrays for name, arrays in GMF_LAYERS.items() if arrays}
    product = layers["user_embedding"][0][users] * layers["item_embedding"][0][items]
    return (product @ layers["prediction"][0] + layers["prediction"][1])[:, 0]


def mlp_logits(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    rows = [MLP_LAYERS["user_embedding"][0][users], MLP_LAYERS["item_embedding"][0][items]]
    x = np.concatenate(rows, axis=1)
    for name in ("layer1", "layer2"):
        x = np.maximum(x @ MLP_LAYERS[name][0] + MLP_LAYERS[name][1], 0)
    return (x @ MLP_LAYERS["prediction"][0] + MLP_LAYERS["prediction"][1])[:, 0]


@pytest.mark.parametrize("given", [("gmf",), ("mlp",), ("gmf", "mlp")])
def test_logits(files: dict[str, Path], tmp_path: Path, given: tuple[str, ...]) -> None:
    out = tmp_path / "out/float.pth"
    arguments = [text for name in given for text in (f"--{name}", str(files[name]))]
    assert ncf_from_keras.main([*arguments, "--out", str(out)]) == 0
    widths = dict(mlp_widths=(4, 3, 2))
    model: Any = {
        ("gmf",): lambda: GMF(**SIZES, gmf_dims=3),
        ("mlp",): lambda: MLP(**SIZES, **widths),
        ("gmf", "mlp"): lambda: NeuMF(**SIZES, gmf_dims=3, **widths),
    }[given]()
    model.load_state_dict(torch.load(out, weights_only=True)["state_dict"])
    users, items = np.array([0, 4, 2]), np.array([5, 0, 3])
    parts = {"gmf": gmf_logits, "mlp": mlp_logits}
    wanted = np.mean([parts[name](users, items) for name in given], axis=0)
    with torch.no_grad():
        found = model.logits(torch.from_numpy(users), torch.from_numpy(items))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --gmf, --mlp or both"),
        (["--gmf", "mlp"], "has 2 hidden layers; --gmf takes a GMF"),
        (["--mlp", "gmf"], "has 0 hidden layers"),
        (["--gmf", "nowhere"], "nowhere is missing"),
        (["--gmf", "text"], "is no file of Keras weights"),
        (["--gmf", "half"], "lacks a layer of a GMF"),
    ],
)
def test_refused(
    files: dict[str, Path],
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "text").write_text("no weights")
    half = {name: arrays for name, arrays in GMF_LAYERS.items() if name != "prediction"}
    places = {**files, "half": write(tmp_path / "half.h5", half)}
    given = [str(places.get(a, a if a.startswith("--") else tmp_path / a)) for a in arguments]
    assert ncf_from_keras.main([*given, "--out", str(tmp_path / "out.pth")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()


def test_without_h5py(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    arguments = ["--gmf", str(files["gmf"]), "--out", str(tmp_path / "out.pth")]
    assert ncf_from_keras.main(arguments) == 1
    assert "pip install 'mmptq[ncf]'" in capsys.readouterr().err
