r"""Which parts of a DETR suffer from quantization: each alone, and all but each.

A part is a choice of layers: their weights, and what they read. It alone is quantized, all else in
float; then it alone is in float. Ranges are those of MMSE. The distance is that of the heads'
outputs to the float model's, as a share of their variance, on images that calibration did not see
and for the queries that the float model chose; the mAP is that of the whole model.

  python benchmarks/detr_parts.py --columns W8A8 W4A4

Cells that the JSON file holds are not measured again.
"""

import argparse
import fnmatch
from collections.abc import Container, Iterable, Mapping
from functools import partial
from pathlib import Path

from arguments import add_cells, new_parser, run
from cells import Cell, Cells
from comparison.columns import Column, find_columns
from comparison.held_out import HeldOutDistance
from comparison.models import MODELS, find_models, main_figure
from comparison.places import Places, read_model_config
from comparison.specs import find_specs
from markdown_table import table
from records import origin
from silence import quiet

from mmptq.analysis.sensitivity.tensors import quantized_tensors
from mmptq.engine.incremental.probing import float_form
from mmptq.runner import CalibrationRunner

# Names in MMDetection's deformable DETRs; each layer belongs to the first part that it fits.
PARTS = {
    "backbone": ("backbone.*",),
    "neck": ("neck.*",),
    "encoder: sampling offsets": ("encoder.*.sampling_offsets",),
    "encoder: attention weights": ("encoder.*.attention_weights",),
    "encoder: values": ("encoder.*.value_proj", "encoder.*.output_proj"),
    "encoder: perceptrons": ("encoder.*.ffn.*",),
    "queries' choice": ("memory_trans_fc", "bbox_head.???_branches.{behind}*"),
    "queries' positions": ("decoder.ref_point_head.*", "pos_trans_fc", "reference_points_fc"),
    "decoder: self-attention": ("decoder.*.self_attn.*",),
    "decoder: sampling offsets": ("decoder.*.sampling_offsets",),
    "decoder: attention weights": ("decoder.*.attention_weights",),
    "decoder: values": ("decoder.*.value_proj", "decoder.*.output_proj"),
    "decoder: perceptrons": ("decoder.*.ffn.*",),
    "box branches": ("bbox_head.reg_branches.*",),
    "class branches": ("bbox_head.cls_branches.*",),
}
# Layers that read what those of another part read: by this they get quantizers of their own, with
# the same range.
APART = [
    {"pattern": pattern, "act": {"per_channel": "none"}}
    for pattern in ("*.attention_weights", "bbox_head.reg_branches.*.0")
]
TITLES = ("part", "quantizers", "weights", "distance, alone", "distance, all but it", "mAP")
ALONE, SPARED = "/alone", "/spared"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--model", default="demo_dino", help="default: %(default)s")
    parser.add_argument("--columns", nargs="+", default=["W4A4"], help="such as W4A4")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/detr_parts"))
    add_cells(parser, "detr_parts")
    args = parser.parse_args()
    find_models([args.model])
    cells = Cells(args.json)
    for column in find_columns(args.columns):
        start = f"{args.model}/{column.name}"
        if not args.print_only:
            with quiet():
                measure(args, column, cells, start)
        print(f"**{column.name}**\n\n{show(cells.values, start)}\n")


def measure(args: argparse.Namespace, column: Column, cells: Cells, start: str) -> None:
    """What the file of the cells lacks."""
    model = MODELS[args.model]
    runner = make_runner(args.model, column, args.work_dir / column.name)
    context = runner.setup()
    runner.prepare_model(context)
    distance = HeldOutDistance(runner, context, model.held_out)
    runner.run_recipe(context)
    tensors = quantized_tensors(runner.model, {})
    layers = dict(runner.model.quant_layers())
    sizes = {n: layers[n].weight.numel() for n in runner.model.weight_quantizers()}
    parts = parts_of(layers, runner.model.model.decoder.num_layers)

    def compute(on: Container[str], whole: bool) -> Cell:
        chosen = [tensor for tensor in tensors if tensor.layers[0] in on]
        with float_form(runner.model):
            for tensor in chosen:
                tensor.quantizer.enabled = True
            found: Cell = {"distance": round(distance()[0], 6)}
            if whole:  # a single part hardly moves the mAP
                metrics = runner.evaluate("cell")
                found["metric"] = round(main_figure(metrics, model.metric), 4)
        weights = sum(size for name, size in sizes.items() if name in on)
        share = round(weights / sum(sizes.values()), 4)
        return {**found, "quantizers": len(chosen), "weights": share, **origin()}

    cells.measure(f"{start}/all", partial(compute, set(layers), True))
    for part, names in parts.items():
        cells.measure(f"{start}/{part}{ALONE}", partial(compute, names, False))
        cells.measure(f"{start}/{part}{SPARED}", partial(compute, set(layers) - names, True))


def make_runner(name: str, column: Column, folder: Path) -> CalibrationRunner:
    """A silent runner of the model, with ranges by MMSE and no shared quantizers."""
    model = MODELS[name]
    cfg = read_model_config(name, Places(Path("data")), folder)
    qconfig = column.qconfig(cfg.qconfig.to_dict())
    cfg.qconfig = {**qconfig, "overrides": [*APART, *qconfig.get("overrides", [])]}
    cfg.calib_cfg = dict(
        method="cell",
        num_images=model.images,
        batch_size=model.batch_size,
        baseline=False,
        eval_float=False,
        steps=find_specs(["mmse"])[0].steps(model),
    )
    return CalibrationRunner.from_cfg(cfg)


def parts_of(layers: Iterable[str], behind: int) -> dict[str, set[str]]:
    """The layers of each part that a model has.

    Args:
        layers: Names of the model's.
        behind: Number of the branches that read the encoder, behind those of the decoder's layers.
    """
    found: dict[str, set[str]] = {}
    for layer in layers:
        part = next(part for part, names in PARTS.items() if fits(layer, names, behind))
        found.setdefault(part, set()).add(layer)
    return {part: found[part] for part in PARTS if part in found}


def fits(name: str, patterns: Iterable[str], behind: int) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern.format(behind=behind)) for pattern in patterns)


def show(cells: Mapping[str, Cell], start: str) -> str:
    """A row a part, in the order of the image's way."""
    rows = [["all", *size(cells[f"{start}/all"]), "", *figures(cells[f"{start}/all"])]]
    for part in PARTS:
        alone, rest = (cells.get(f"{start}/{part}{how}") for how in (ALONE, SPARED))
        if alone and rest:
            rows.append([part, *size(alone), f"{alone['distance']:.4f}", *figures(rest)])
    return table(TITLES, rows)


def size(cell: Cell) -> list[str]:
    return [str(cell["quantizers"]), f"{100 * cell['weights']:.1f} %"]


def figures(cell: Cell) -> list[str]:
    return [f"{cell['distance']:.4f}", f"{cell['metric']:.1f}"]


if __name__ == "__main__":
    run(main)
