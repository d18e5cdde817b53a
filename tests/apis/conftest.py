import pytest
from mmengine.runner import Runner


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Asking every compiler for its version takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "_log_env", lambda *_: None)
        yield
