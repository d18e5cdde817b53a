"""Without ``-m conformance`` only the quick families and networks run."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "conformance" in config.option.markexpr:
        return
    slow = [item for item in items if not _is_quick(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if _is_quick(item)]


def _is_quick(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    entry = params.get("family") or params.get("network")
    return not item.get_closest_marker("conformance") or getattr(entry, "quick", True)
