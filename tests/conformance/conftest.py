"""Without ``-m conformance`` only the quick families run."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "conformance" in config.option.markexpr:
        return
    slow = [item for item in items if not _is_quick(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if _is_quick(item)]


def _is_quick(item: pytest.Item) -> bool:
    family = getattr(getattr(item, "callspec", None), "params", {}).get("family")
    return not item.get_closest_marker("conformance") or getattr(family, "quick", True)
