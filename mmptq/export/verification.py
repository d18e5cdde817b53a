"""The result of an export's check."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from mmptq.errors import MmptqError
from mmptq.export.layer_check import LayerCheck

# Of a layer's outputs on equal inputs; ties of rounding are off by one step, and rare.
FAR_LIMIT = 1e-3
_SHOWN = 5
# By how much less of the simulation's detections a runtime may have than the simulation in float64.
_AGREEMENT_MARGIN = 0.25


@dataclass
class Verification:
    """Everything that the end of an export tells.

    Args:
        runtime: Name.
        part: Of the model that was exported.
        layers: One an executed layer.
        images: On which it was checked.
        close: How many have the detections (of a classifier: the probabilities) of the simulation:
            the same labels, scores within 1e-4, boxes within 0.01 pixels.
        float64_close: The same of the simulation in float64, which nothing but rounding edges
            separates from the simulation in float32.
        agreement: Share of the detections that both have, a mean over the images.
        float64_agreement: The same of the simulation in float64.
        score_difference: Largest among detections that are in both.
        box_difference: Largest among these, in pixels.
        distance: Share of the raw outputs' variance by which the runtime differs from the
            simulation, a mean over images and kinds of outputs; ``None`` for a part that has
            post-processing in it.
        float64_distance: The same of the simulation in float64.
        integers: Products that the runtime computes in integers.
        products: All of them.
        megabytes: Of the file.
        float_megabytes: Of the float model's.
        milliseconds: Of one image, the fastest of some runs.
        float_milliseconds: Of the float model in the same runtime.
    """

    runtime: str
    part: str
    layers: list[LayerCheck] = field(default_factory=list)
    images: int = 0
    close: int = 0
    float64_close: int = 0
    agreement: float = 1.0
    float64_agreement: float = 1.0
    score_difference: float = 0.0
    box_difference: float = 0.0
    distance: float | None = None
    float64_distance: float | None = None
    integers: int = 0
    products: int = 0
    megabytes: float = 0.0
    float_megabytes: float = 0.0
    milliseconds: float = 0.0
    float_milliseconds: float = 0.0

    @property
    def saturated(self) -> list[LayerCheck]:
        """Layers that the runtime computes wrongly, the worst first."""
        return sorted((c for c in self.layers if c.far > FAR_LIMIT), key=lambda c: -c.far)

    def raise_for_differences(self) -> None:
        """Make sure that the runtime computes what the simulation does, in parts and as a whole.

        Raises:
            MmptqError: It does not.
        """
        self.raise_for_layers()
        self.raise_for_images()

    def raise_for_layers(self) -> None:
        """Make sure that the runtime computes each layer as the simulation does.

        Raises:
            MmptqError: It does not, as where 8-bit products saturate.
        """
        wrong = self.saturated
        if wrong:
            worst = ", ".join(f"{c.name} ({c.far:.1%} of outputs)" for c in wrong[:_SHOWN])
            raise MmptqError(
                f"{self.runtime} computes {len(wrong)} of {len(self.layers)} layers otherwise than "
                f"the simulation, by up to {max(c.largest for c in wrong):.0f} steps: {worst}. On "
                "CPUs without VNNI products of 8-bit weights saturate: quantize with "
                "configs/_base_/quant/w8a8_cpu.py (7-bit weights)"
            )

    def raise_for_images(self) -> None:
        """Make sure that the runtime finds in whole images what the simulation does.

        Right layers do not make a right whole: in graphs for images of any size OpenVINO 2026.4
        scales what a layer without a bias wrote twice for all but one of those that read it.

        Raises:
            MmptqError: It does not.
        """
        if self.agreement < self.float64_agreement - _AGREEMENT_MARGIN:
            raise MmptqError(
                f"{self.runtime} finds other things in the images than the simulation does: "
                f"{self.agreement:.0%} of the detections are in both, "
                f"{self.float64_agreement:.0%} in those of the simulation in float32 and float64. "
                "Each layer alone is right, so the runtime changes the graph wrongly: try "
                "--static, or another --target"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> Table:
        """The summary."""
        title = f"exported {self.part} in {self.runtime}"
        table = Table(title=title, title_justify="left")
        table.add_column("")
        table.add_column("quantized", justify="right")
        table.add_column("float", justify="right")
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> list[tuple[str, ...]]:
        equal = min((c.equal for c in self.layers), default=1.0)
        rows: list[tuple[str, ...]] = [
            ("file, MB", f"{self.megabytes:.2f}", f"{self.float_megabytes:.2f}"),
            ("one image, ms", f"{self.milliseconds:.1f}", f"{self.float_milliseconds:.1f}"),
            ("products in integers", f"{self.integers} of {self.products}"),
            ("layers with the simulation's codes, least share", f"{equal:.2%}"),
            ("layers off by more than a step", f"{len(self.saturated)} of {len(self.layers)}"),
        ]
        if self.distance is not None:
            rows += [
                ("outputs: distance to the simulation", f"{self.distance:.2g}"),
                ("  simulation in float64, to the same", f"{self.float64_distance:.2g}"),
            ]
        return [
            *rows,
            ("images with the simulation's results", f"{self.close} of {self.images}"),
            ("  simulation in float64, with the same", f"{self.float64_close} of {self.images}"),
            ("detections that are the simulation's", f"{self.agreement:.1%}"),
            ("  simulation in float64, the same", f"{self.float64_agreement:.1%}"),
            ("largest difference of a score", f"{self.score_difference:.2g}"),
            ("largest difference of a box, pixels", f"{self.box_difference:.2g}"),
        ]
