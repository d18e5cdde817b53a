import json

import torch

import mmptq
from mmptq.evaluation import environment
from mmptq.evaluation.environment import _version


def test_versions_and_device():
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["mmptq"] == mmptq.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["device"]
    assert json.loads(json.dumps(found)) == found


def test_a_missing_package_is_none():
    assert _version("no_such_package_anywhere") is None
