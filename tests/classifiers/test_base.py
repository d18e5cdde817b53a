import pytest
import torch
from torch.nn import functional as F

from mmptq.classifiers import CifarResNet, ImageClassifier
from mmptq.errors import CalibrationDataError
from mmptq.structures import ClassSample


@pytest.fixture
def model() -> ImageClassifier:
    torch.manual_seed(0)
    return CifarResNet(depth=8, num_classes=5).eval()


def labelled(*labels: int) -> list[ClassSample]:
    samples = [ClassSample(metainfo=dict(img_path=f"{i}.jpg")) for i, _ in enumerate(labels)]
    for sample, label in zip(samples, labels, strict=True):
        sample.set_field(torch.tensor([label]), "gt_label", field_type="data")
    return samples


@torch.no_grad()
def test_modes(model: ImageClassifier) -> None:
    images = torch.randn(4, 3, 32, 32)
    logits = model(images)
    assert logits.shape == (4, 5)
    loss = model(images, labelled(0, 4, 2, 2), mode="loss")["loss"]
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([0, 4, 2, 2])))
    for samples in (None, labelled(0, 4, 2, 2)):
        found = model(images, samples, mode="predict")
        scores = torch.stack([sample.pred_score for sample in found])
        torch.testing.assert_close(scores, logits.softmax(1))
        assert [int(s.pred_label) for s in found] == logits.argmax(1).tolist()
    with pytest.raises(ValueError, match="mode = 'logits'"):
        model(images, mode="logits")


def test_images_without_labels_are_named(model: ImageClassifier) -> None:
    samples = [*labelled(1), ClassSample(metainfo=dict(img_path="x/7.jpg"))]
    with pytest.raises(CalibrationDataError, match="x/7.jpg has no label.*PackClassInputs"):
        model(torch.randn(2, 3, 32, 32), samples, mode="loss")
