"""Puts the configs and the demo's weights into the wheel; all else is in pyproject.toml.

They go where MMDetection keeps its own, in the package's folder ``.mim``, by which MMEngine
resolves ``mmptq::...``. In a clone, links of the same names lead to the folders themselves. Other
weights, of twice the wheel's size, are in the clone alone.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Also copies what stands beside the package."""

    def run(self) -> None:
        """As ever, then the copies; an editable installation has the links."""
        super().run()
        if self.editable_mode:
            return
        for folder, pattern in (("configs", "*.py"), ("checkpoints/demo", "*.pth")):
            for source in sorted(Path(folder).rglob(pattern)):
                target = Path(self.build_lib, "mmptq/.mim", source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithConfigs})
