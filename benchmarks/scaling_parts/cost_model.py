"""Seconds of a calibration's parts on n devices, fitted to those of one and two processes.

A part goes in rounds (evaluations of a search, iterations; one where there is but one pass), each
over some images. A round takes

  once + image * ceil(images / n) + exchange * growth(n)

seconds: what every process does, what is shared, what it costs to tell each other. Where each
process reads what all others found, ``growth`` is n - 1, else log2(n). The three are found by least
squares of the relative errors, none below 0.

For another model ``image`` grows with the seconds of a forward pass, ``once`` and ``exchange`` with
the number of layers. Where gradients are averaged, ``once`` grows with the number of weights (the
optimizer's work), and the exchange is a ring's: 2 (n - 1) / n of the gradients' bytes over the
bandwidth, and log2(n) latencies a layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy.optimize import nnls

_FLOAT_BYTES = 4


class Exchange(Enum):
    """What processes tell each other in a round."""

    NUMBERS = "a few numbers"
    ALL = "all that each found, to all"
    GRADIENTS = "gradients, averaged"

    def growth(self, devices: int) -> float:
        """How its cost grows, as far as it was measured; 1 at two devices."""
        return devices - 1 if self is Exchange.ALL else math.log2(devices)


@dataclass(frozen=True)
class Work:
    """How much of a part is done.

    Args:
        rounds: How often.
        images: In each round, of all processes together.
    """

    rounds: int
    images: int


@dataclass(frozen=True)
class Measured:
    """A part's seconds.

    Args:
        work: What was done.
        devices: By how many processes.
        seconds: How long it took.
    """

    work: Work
    devices: int
    seconds: float


@dataclass(frozen=True)
class Fit:
    """Seconds of a round.

    Args:
        once: Of every process, however many there are.
        image: Of each image of a process.
        exchange: Between two processes.
        kind: How the exchange grows.
        error: Largest relative error at what was measured.
    """

    once: float
    image: float
    exchange: float
    kind: Exchange = Exchange.NUMBERS
    error: float = 0.0

    def seconds(self, work: Work, devices: int) -> float:
        """Of the model that was measured."""
        parameters = (self.once, self.image, self.exchange)
        return sum(p * t for p, t in zip(parameters, terms(work, devices, self.kind), strict=True))


def terms(work: Work, devices: int, kind: Exchange) -> tuple[float, float, float]:
    """What the three parameters are multiplied with."""
    own = math.ceil(work.images / devices)
    return work.rounds, work.rounds * own, work.rounds * kind.growth(devices)


def fit(points: Sequence[Measured], kind: Exchange = Exchange.NUMBERS) -> Fit:
    """The parameters that are nearest to the points."""
    rows = np.array([terms(p.work, p.devices, kind) for p in points], dtype=float)
    seconds = np.array([point.seconds for point in points])
    found, _ = nnls(rows / seconds[:, None], np.ones(len(points)))
    error = float(np.abs(rows @ found / seconds - 1).max())
    once, image, exchange = map(float, found)
    return Fit(once, image, exchange, kind, error)


@dataclass(frozen=True)
class Network:
    """A model.

    Args:
        seconds: Of a forward pass of one image.
        weights: How many.
        layers: How many.
    """

    seconds: float
    weights: int
    layers: int


@dataclass(frozen=True)
class Link:
    """What connects the devices.

    Args:
        bandwidth: Bytes in a second.
        latency: Seconds of a message.
    """

    bandwidth: float
    latency: float

    def average(self, network: Network, devices: int) -> float:
        """Seconds in which a gradient of every weight is averaged, layer by layer."""
        sent = 2 * (devices - 1) / devices * network.weights * _FLOAT_BYTES
        return sent / self.bandwidth + math.log2(devices) * self.latency * network.layers


@dataclass(frozen=True)
class Transfer:
    """From the model that was measured to another one.

    Args:
        measured: The one.
        other: The other.
        link: Between the devices of the other.
    """

    measured: Network
    other: Network
    link: Link

    def seconds(self, found: Fit, work: Work, devices: int) -> float:
        """Of a part of the other model.

        Args:
            found: Of the part on the model that was measured.
            work: What is to be done.
            devices: By how many.
        """
        image = found.image * self.other.seconds / self.measured.seconds
        if found.kind is Exchange.GRADIENTS:
            once = found.once * self.other.weights / self.measured.weights
            exchange = work.rounds * self.link.average(self.other, devices)
            return Fit(once, image, 0.0).seconds(work, devices) + exchange
        layers = self.other.layers / self.measured.layers
        moved = Fit(found.once * layers, image, found.exchange * layers, found.kind)
        return moved.seconds(work, devices)
