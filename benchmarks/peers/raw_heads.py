"""A detector's float network apart from pre- and post-processing, as an ONNX file."""

from pathlib import Path

import torch
from torch import Tensor

from mmptq.export.parts import INPUT, SIZES, HeadsPart


class RawHeads(HeadsPart):
    """Images to what the head's ``forward`` returns, as a flat tuple of tensors."""

    def export(self, path: Path, image: Tensor) -> None:
        """Write an ONNX graph for images of any size and number; batch norms are folded.

        Args:
            path: The file.
            image: An example ``(1, 3, H, W)``.
        """
        names = self.output_names({INPUT: image})
        torch.onnx.export(
            self,
            (image,),
            str(path),
            dynamo=False,  # the other exporter folds no batch norms into convolutions
            opset_version=17,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: SIZES} | {name: {0: "n"} for name in names},
        )
