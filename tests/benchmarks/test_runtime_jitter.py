from types import SimpleNamespace

import pytest
import torch
from torch import nn


class Preprocessor(nn.Module):
    def forward(self, data, training=False):
        return data


@pytest.fixture
def runner():
    model = SimpleNamespace(data_preprocessor=Preprocessor())
    return SimpleNamespace(model=SimpleNamespace(model=model))


def batch(path):
    image = torch.linspace(-2, 2, 3 * 8 * 8).view(1, 3, 8, 8)
    return {"inputs": image, "data_samples": [SimpleNamespace(img_path=path)]}


def images(runner, repeat, paths):
    from runtime_jitter import jittered

    with jittered(runner, repeat):
        found = [runner.model.model.data_preprocessor(batch(path))["inputs"] for path in paths]
    assert torch.equal(runner.model.model.data_preprocessor(batch("a"))["inputs"], clean())
    return found


def clean():
    return batch("")["inputs"]


def test_an_images_noise_is_the_same_whatever_is_preprocessed_before_it(runner):
    a, b = images(runner, 0, "ab")
    (alone,) = images(runner, 0, "b")
    assert torch.equal(b, alone)
    assert not torch.equal(a, b)
    (again,) = images(runner, 1, "b")
    assert not torch.equal(b, again)


def test_noise_is_far_below_a_gray_level(runner):
    (noisy,) = images(runner, 0, "a")
    change = (noisy - clean()).abs().max()
    assert 0.0 < float(change) < 1e-3 * float(clean().std())


def test_the_difference_is_that_of_pairs():
    from runtime_jitter import difference

    found = difference({"real": [35.0, 36.0, 37.0], "simulated": [35.0, 35.0, 35.0]})
    assert found == {"difference": 1.0, "error": pytest.approx(1 / 3**0.5, abs=1e-3)}


def test_one_measurement_has_no_error(monkeypatch, capsys):
    import runtime_jitter

    argv = ["runtime_jitter.py", "--models", "bccd_retinanet", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit):
        runtime_jitter.parse_args()
    assert "--repeats 1: must be 2 or more" in capsys.readouterr().err
