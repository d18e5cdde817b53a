"""What a quantization returns."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.registry import init_default_scope

from mmptq.apis.state import restored_state
from mmptq.errors import ConfigError
from mmptq.evaluation import Results
from mmptq.hooks.save import checkpoint_meta, save_checkpoint
from mmptq.models import QuantModel
from mmptq.runner import CalibrationRunner
from mmptq.runner.exporting import export
from mmptq.targets import TARGETS

if TYPE_CHECKING:
    from mmptq.export.verification import Verification


@dataclass(frozen=True)
class QuantResult:
    """A quantized model and what was measured.

    Args:
        model: In eval mode. ``model(images)`` of a classifier gives logits, ``model.test_step`` of
            any model what the float one's gives.
        results: One row a method: float, min-max, the recipe.
        runner: That made it.
    """

    model: QuantModel
    results: Results
    runner: CalibrationRunner

    @property
    def table(self) -> str:
        """The results in Markdown."""
        return self.results.to_markdown()

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.table

    def save(self, path: str | os.PathLike[str], packed: bool = False) -> Path:
        """Write the checkpoint that ``tools/test.py`` and MMDetection's own tools open.

        Args:
            path: Of the file.
            packed: Weights as integers of their own number of bits.

        Returns:
            ``path``.

        Raises:
            MmptqError: The file cannot be written.
        """
        save_checkpoint(path, self.model, checkpoint_meta(self.runner, self.results), packed)
        return Path(path)

    def export(
        self,
        path: str | os.PathLike[str],
        target: str = "openvino",
        part: str | None = None,
        static: bool = False,
        num_images: int = 4,
    ) -> "Verification":
        """Write the model as ONNX, and check it in its runtime.

        Args:
            path: Of the file; what the check found goes beside it, as JSON.
            target: Key of :data:`mmptq.targets.TARGETS`.
            part: Key of :data:`mmptq.export.kinds.PARTS`, by default the whole model.
            static: Fix the images' number and size.
            num_images: Images on which it is checked: of the test set, or those of ``data``.

        Returns:
            What the check found.

        Raises:
            ConfigError: ``target`` is none, a package is missing, or a layer cannot be exported.
            MmptqError: The file cannot be written, or would compute something else.
        """
        if target not in TARGETS:
            raise ConfigError(f"target = {target!r}: must be one of {', '.join(TARGETS)}")
        with restored_state():
            init_default_scope(self.runner.cfg.get("default_scope") or "mmdet")
            found = export(self.runner, Path(path), TARGETS[target], part, static, num_images)
        found.raise_for_differences()
        return found
