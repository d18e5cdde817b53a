"""A method as a user writes it, ``bitshrink@300:stops=3``, and the recipe that it becomes."""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from arguments import ROOT, parse_options
from mmengine.config import Config

from comparison.lookup import find
from comparison.methods import METHODS, Method
from comparison.models import Model
from mmptq.errors import ConfigError
from mmptq.registry import STEPS, build

RECIPES = "configs/_base_/calib"
# A rounding that is learned has a way of about 2 to go, whatever the number of steps.
ROUNDING_WAY, MOST_LR_ROUNDING = 10.0, 0.1

# Options that are of the calibration, not of a step.
OF_CALIBRATION = ("check_images",)

StepConfig = dict[str, Any]


class Spec(NamedTuple):
    """A method with what is changed in it.

    Args:
        name: As it stands in cells: ``KEY[@ITERATIONS][:OPTION=VALUE...]``.
        key: Of the method.
        iters: Iterations a unit; None: the recipe's.
        options: Arguments of its steps, or of the calibration.
    """

    name: str
    key: str
    iters: int | None
    options: Mapping[str, Any]

    @property
    def method(self) -> Method:
        """Without the changes."""
        return METHODS[self.key]

    @property
    def title(self) -> str:
        """In tables."""
        return self.method.title + self.name.removeprefix(self.key)

    @property
    def calibration(self) -> dict[str, Any]:
        """Its options that stand beside the steps."""
        return {key: self.options[key] for key in OF_CALIBRATION if key in self.options}

    def steps(self, model: Model) -> list[StepConfig]:
        """The recipe for a model.

        Raises:
            ConfigError: An option fits no step, or has an impossible value.
        """
        steps = [
            *map(dict, self.method.first),
            *(s for s in _recipe(self.method, model) if s["type"] not in self.method.without),
            *map(dict, self.method.last),
        ]
        for step in steps:
            step.update(copy.deepcopy(self.method.changes.get(step["type"], {})))
        for key, value in self._options(steps):
            for step in self._taking(steps, key):
                step[key] = value
        for index, step in enumerate(steps):
            build(STEPS, step, f"method {self.name}: steps[{index}]")
        return steps

    def _taking(self, steps: Sequence[StepConfig], key: str) -> list[StepConfig]:
        """The steps that have an argument of this name."""
        taking = [step for step in steps if key in _arguments(step["type"])]
        if not taking:
            types = [step["type"] for step in steps]
            known = sorted(set().union(*map(_arguments, types)))
            raise ConfigError(
                f"method {self.name}: none of its steps ({', '.join(types)}) takes {key}; they "
                f"take {', '.join(known)}"
            )
        return taking

    def _options(self, steps: Sequence[StepConfig]) -> Iterator[tuple[str, Any]]:
        """All that is changed; what a user writes comes last."""
        if self.iters is not None:
            yield "iters", self.iters
            if any("lr_rounding" in _arguments(step["type"]) for step in steps):
                yield "lr_rounding", min(ROUNDING_WAY / self.iters, MOST_LR_ROUNDING)
        yield from ((k, v) for k, v in self.options.items() if k not in OF_CALIBRATION)


def reads_labels(steps: Sequence[StepConfig]) -> bool:
    """Whether a recipe needs the calibration images' labels."""
    return any(build(STEPS, step, step["type"]).reads_labels for step in steps)


def find_specs(texts: Sequence[str], iters: int | None = None) -> list[Spec]:
    """The methods, each once.

    Args:
        texts: ``KEY[@ITERATIONS][:OPTION=VALUE...]``; an option goes to every step of the recipe
            that takes it; ``check_images`` (0: what was learned is delivered unseen) to the
            calibration.
        iters: Of those that iterate and say nothing.

    Raises:
        ConfigError: A method is unknown, or what follows it has another form.
    """
    found = (_find(text, iters) for text in texts)
    return list({spec.name: spec for spec in found}.values())


def _find(text: str, default: int | None) -> Spec:
    head, *options = text.split(":")
    key, at, number = head.partition("@")
    find(key, METHODS, "method")
    if at and (not number.isdecimal() or not int(number)):
        raise ConfigError(f"method {text}: behind @ stands the number of iterations a unit")
    for option in options:
        if not all(option.partition("=")):
            raise ConfigError(f"method {text}: {option!r} must have the form OPTION=VALUE")
    if not at and default is not None and _iterates(METHODS[key]):
        at, number = "@", str(default)
    name = ":".join([f"{key}{at}{number}", *options])
    return Spec(name, key, int(number) if at else None, parse_options(options))


def _iterates(method: Method) -> bool:
    steps = [*_read(_recipe_file(method.recipe, None)), *method.last]
    return any("iters" in _arguments(step["type"]) for step in steps)


def _recipe(method: Method, model: Model) -> list[StepConfig]:
    return copy.deepcopy(_read(_recipe_file(method.recipe, model.recipes)))


def _recipe_file(name: str, own: str | None) -> Path:
    """The model's own form of a recipe, else the fast one, else the plain one."""
    files = [ROOT / own / f"{name}.py"] if own else []
    files += [ROOT / RECIPES / f"{form}.py" for form in (f"{name}_fast", name)]
    return next(file for file in files if file.is_file())


@cache
def _read(file: Path) -> list[StepConfig]:
    return Config.fromfile(file).calib_cfg.to_dict()["steps"]


@cache
def _arguments(step: str) -> frozenset[str]:
    """What a step's constructor takes, what it hands on to its bases included."""
    STEPS.import_from_location()
    bases = inspect.getmro(STEPS.get(step))
    names = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    return frozenset(names - {"self", "args", "kwargs", "common"})
