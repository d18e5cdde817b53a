"""The categories of a COCO annotation file."""

import json
from typing import Any

from mmengine.fileio import get_text

_KEY = '"categories"'


def read_categories(ann_file: str, backend_args: dict[str, Any] | None) -> dict[int, str]:
    """``id -> name``, in the file's order.

    Only this list is parsed, which takes no time where the data set has parsed the whole file.

    Returns:
        Empty where the file holds none.
    """
    text = get_text(ann_file, backend_args=backend_args)
    place = text.rfind(_KEY)
    while place >= 0:
        value = text[place + len(_KEY) : place + len(_KEY) + 64].lstrip(" \t\r\n:")
        if value.startswith("["):
            found = json.JSONDecoder().raw_decode(text, text.index("[", place))[0]
            if all(isinstance(entry, dict) and {"id", "name"} <= set(entry) for entry in found):
                return {entry["id"]: entry["name"] for entry in found}
        place = text.rfind(_KEY, 0, place)
    return {}
