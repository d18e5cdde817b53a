"""``run.json``: what a report tells of a run that no other file of its work dir holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmptq.errors import MmptqError
from mmptq.evaluation import LayerCost, ModelCost
from mmptq.fileio import save_json
from mmptq.report.reading import (
    count,
    dict_of,
    dicts_of,
    number,
    numbers,
    read_json,
    text,
    texts,
)

NAME = "run.json"
SCHEMA = 1


@dataclass(frozen=True)
class Start:
    """One start of the run.

    Args:
        time: When, ISO 8601.
        command: The command line; empty where Python called.
        resumed: Whether it went on from finished stages.
        processes: How many took part.
    """

    time: str
    command: str = ""
    resumed: bool = False
    processes: int = 1


@dataclass(frozen=True)
class Layer:
    """What one layer computes for one image, and in how many bits.

    Args:
        name: Module name.
        kind: Class name.
        roles: As the plan says them, such as ``first``.
        weight_bits: 32 for float.
        input_bits: Different ones of its calls.
        calls: How often it runs.
        macs: Multiply-accumulate operations of all calls.
        weight_bytes: Of the stored weight.
        quantized: Whether both of its operands are.
    """

    name: str
    kind: str
    roles: tuple[str, ...]
    weight_bits: float
    input_bits: tuple[float, ...]
    calls: int
    macs: int
    weight_bytes: float
    quantized: bool

    @classmethod
    def of(cls, cost: LayerCost, roles: tuple[str, ...]) -> "Layer":
        """Of a layer of the cost model."""
        return cls(
            cost.name,
            cost.profile.kind,
            roles,
            cost.weight_bits,
            tuple(dict.fromkeys(cost.input_bits)),
            cost.calls,
            cost.macs,
            cost.weight_bytes,
            cost.quantized,
        )


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        starts: The first, and each ``--resume``.
        model: Class of the float model.
        boxes: Whether it is a detector.
        config: Name of the config in the work dir; empty where none is.
        calibration: The data set, as :func:`mmptq.evaluation.test_set.describe_test_set` says it,
            and the images ``chosen`` from it.
        input_shape: ``(H, W)`` for which operations are counted.
        layers: In the order of execution.
        products: Multiply-accumulate operations in float beside the layers, by module.
        pictures: Names of the files in ``pictures/``.
        blame: Which layers a collapse is blamed on, in lines.
    """

    starts: tuple[Start, ...]
    model: str = ""
    boxes: bool = True
    config: str = ""
    calibration: dict[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] = ()
    layers: tuple[Layer, ...] = ()
    products: dict[str, int] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    blame: tuple[str, ...] = ()

    def with_cost(self, cost: ModelCost, roles: Mapping[str, tuple[str, ...]]) -> "RunRecord":
        """The same with the layers of a cost model, whose roles stand in the plan."""
        return replace(
            self,
            input_shape=cost.input_shape,
            layers=tuple(Layer.of(x, roles.get(x.name, ())) for x in cost.layers),
            products={f"{p.name} ({p.kind})".strip(): p.macs for p in cost.products},
        )

    def save(self, folder: Path) -> None:
        """Write ``run.json``.

        Raises:
            MmptqError: It cannot be written.
        """
        save_json(folder / NAME, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> "RunRecord | None":
        """Read ``run.json``; ``None`` where there is none.

        Raises:
            MmptqError: It cannot be read, or is of another form.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        data = dict_of(read_json(path), str(path))
        if data.get("schema") != SCHEMA:
            raise MmptqError(
                f"{path}: schema = {data.get('schema')!r}: this mmptq reads {SCHEMA}; write the "
                "report with the version that made the run"
            )
        starts = dicts_of(data.get("starts"), f"{path}: starts")
        layers = dicts_of(data.get("layers"), f"{path}: layers")
        products = dict_of(data.get("products"), f"{path}: products")
        return cls(
            starts=tuple(_start(values) for values in starts),
            model=text(data, "model"),
            boxes=data.get("boxes") is True,
            config=text(data, "config"),
            calibration=dict_of(data.get("calibration"), f"{path}: calibration"),
            input_shape=tuple(map(int, numbers(data, "input_shape"))),
            layers=tuple(_layer(values) for values in layers),
            products={name: count(products, name) for name in products},
            pictures=texts(data, "pictures"),
            blame=texts(data, "blame"),
        )


def _start(values: dict[str, Any]) -> Start:
    return Start(
        text(values, "time"),
        text(values, "command"),
        values.get("resumed") is True,
        count(values, "processes"),
    )


def _layer(values: dict[str, Any]) -> Layer:
    return Layer(
        text(values, "name"),
        text(values, "kind"),
        texts(values, "roles"),
        number(values, "weight_bits"),
        numbers(values, "input_bits"),
        count(values, "calls"),
        count(values, "macs"),
        number(values, "weight_bytes"),
        values.get("quantized") is True,
    )
