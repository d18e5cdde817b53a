r"""Turn the public pretrained GMF and MLP (Keras, .h5) into float checkpoints, and both into NeuMF.

With --gmf or --mlp alone the checkpoint is that model's; with both it is NeuMF's, whose last layer
has half of each one's weights and bias (He et al. 2017, section 3.4.1, alpha = 0.5). Not trained
further, it is the point where NeuMF's own training starts.

The weights: https://github.com/hexiangnan/neural_collaborative_filtering, folder Pretrain/
(ml-1m_GMF_8_*.h5, ml-1m_MLP_[64,32,16,8]_*.h5).

  python tools/ncf_from_keras.py --gmf ml-1m_GMF_8_1501651698.h5 \
      --mlp 'ml-1m_MLP_[64,32,16,8]_1501652038.h5' --out data/ml-1m/neumf.pth
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmptq.errors import CheckpointError, ConfigError, MmptqError
from mmptq.fileio import atomic_write

State = dict[str, Tensor]


def read_layers(path: Path) -> dict[str, list[Tensor]]:
    """Weights of each layer of a Keras file, by its name: the matrix, then the bias.

    Raises:
        ConfigError: h5py is not installed.
        CheckpointError: The file is missing, or none of Keras.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConfigError("h5py is not installed: pip install 'mmptq[ncf]'") from error
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; it is in the folder Pretrain/ of the repository")
    try:
        with h5py.File(path) as file:
            # The models themselves may stand one level deeper.
            root: Any = file.get("model_weights", file)
            return {
                _text(name): [
                    torch.from_numpy(root[name][weight][()])
                    for weight in root[name].attrs["weight_names"]
                ]
                for name in root.attrs["layer_names"]
            }
    except (OSError, KeyError) as error:
        raise CheckpointError(f"{path} is no file of Keras weights: {error}") from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def branch_state(layers: dict[str, list[Tensor]], branch: str, path: Path) -> State:
    """The tensors of a GMF or MLP under our names.

    Args:
        layers: Of :func:`read_layers`.
        branch: ``'gmf'`` or ``'mlp'``.
        path: For messages.

    Raises:
        CheckpointError: A layer is missing, or it is the other model.
    """
    hidden = sorted(name for name in layers if name.startswith("layer") and layers[name])
    if bool(hidden) != (branch == "mlp"):
        raise CheckpointError(
            f"{path} has {len(hidden)} hidden layers; --gmf takes a GMF, which has none, --mlp an "
            "MLP"
        )
    try:
        state = {
            f"{branch}.user.weight": layers["user_embedding"][0],
            f"{branch}.item.weight": layers["item_embedding"][0],
            "predict_layer.weight": layers["prediction"][0].T,
            "predict_layer.bias": layers["prediction"][1],
        }
        # A ReLU stands behind each layer.
        for i, name in enumerate(sorted(hidden, key=lambda name: int(name[len("layer") :]))):
            matrix, bias = layers[name]
            state |= {f"mlp.layers.{2 * i}.weight": matrix.T, f"mlp.layers.{2 * i}.bias": bias}
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path} lacks a layer of a {branch.upper()}: {error}") from error
    return {name: tensor.float().contiguous() for name, tensor in state.items()}


def both(gmf: State, mlp: State) -> State:
    """The state of the NeuMF that averages both models' logits."""
    weights = [state["predict_layer.weight"] / 2 for state in (gmf, mlp)]
    bias = (gmf["predict_layer.bias"] + mlp["predict_layer.bias"]) / 2
    return {
        **gmf,
        **mlp,
        "predict_layer.weight": torch.cat(weights, dim=1),
        "predict_layer.bias": bias,
    }


def convert(gmf: Path | None, mlp: Path | None, out: Path) -> State:
    """Write the checkpoint of the model that the files make up.

    Raises:
        MmptqError: No file is given, one is not as expected, or ``out`` cannot be written.
    """
    given = {"gmf": gmf, "mlp": mlp}
    states = [branch_state(read_layers(p), name, p) for name, p in given.items() if p]
    if not states:
        raise ConfigError("give --gmf, --mlp or both")
    state = both(*states) if len(states) == 2 else states[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        torch.save({"state_dict": state}, file)
    return state


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gmf", type=Path, help="Keras weights of a GMF")
    parser.add_argument("--mlp", type=Path, help="Keras weights of an MLP")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    args = parser.parse_args(arguments)
    try:
        state = convert(args.gmf, args.mlp, args.out)
    except MmptqError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {sum(tensor.numel() for tensor in state.values())} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
