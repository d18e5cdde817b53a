"""The benchmarks' folder on the path, as it is where one of them is run."""

import pytest

from tests.tiny_project import REPO


@pytest.fixture(scope="module", autouse=True)
def benchmarks_on_the_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPO / "benchmarks"))
        yield
