"""From measured runs to the parts' fits, and to COCO on more devices."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from markdown_table import table

from scaling_parts.cost_model import Exchange, Fit, Measured, Transfer, Work, fit
from scaling_parts.points import Amount, Point

DEVICES = (1, 8, 64)


class Part(NamedTuple):
    """What is fitted on its own.

    Args:
        seconds: Its own, of those of a run.
        work: What a run does of it.
        shared: Whether its images are shared.
        exchange: What processes tell each other in each round.
    """

    seconds: Callable[[Mapping[str, float]], float]
    work: Callable[[Amount], Work]
    shared: bool = True
    exchange: Exchange = Exchange.NUMBERS


PARTS = {
    "statistics": Part(
        lambda s: s["statistics"], lambda done: Work(1, done.images), exchange=Exchange.ALL
    ),
    "ranges": Part(lambda s: s["ranges"], lambda done: Work(1, 0), shared=False),
    "predicting": Part(lambda s: s["evaluation"] - s["metric"], lambda done: Work(1, done.tested)),
    "metric": Part(lambda s: s["metric"], lambda done: Work(1, done.tested), shared=False),
    "preparing a search": Part(
        lambda s: s["search"] - s["searching"], lambda done: Work(1, done.images)
    ),
    # The first one stands in the preparation.
    "searching": Part(lambda s: s["searching"], lambda done: Work(done.evals - 1, done.images)),
    "capturing": Part(
        lambda s: s["reconstruction"] - s["adjusting"], lambda done: Work(1, done.images)
    ),
    "adjusting": Part(
        lambda s: s["adjusting"],
        lambda done: Work(done.iters, done.batch),
        exchange=Exchange.GRADIENTS,
    ),
}


class Job(NamedTuple):
    """What is done on COCO.

    Args:
        title: Its name.
        how_much: In words.
        work: Of each part that it is made of.
    """

    title: str
    how_much: str
    work: Mapping[str, Work]


def jobs(evals: int) -> list[Job]:
    """Those of the recipes; LAPQ's with ``evals`` evaluations."""
    ranges = {"statistics": Work(1, 256), "ranges": Work(1, 0)}
    evaluation = {"predicting": Work(1, 5000), "metric": Work(1, 5000)}
    search = {"preparing a search": Work(1, 32), "searching": Work(evals - 1, 32)}
    return [
        Job("statistics and ranges", "256 images", ranges),
        Job("evaluation", "5000 images", evaluation),
        Job("LAPQ's search", f"{evals} evaluations of 32 images", search),
        reconstruction("`fast`", 300, 8),
        reconstruction("`published`", 20000, 2),
        reconstruction("as many images in larger mini-batches", 625, 64),
    ]


def reconstruction(setting: str, iters: int, batch: int) -> Job:
    """QDrop on 256 images."""
    work = {"capturing": Work(1, 256), "adjusting": Work(iters, batch)}
    return Job(f"QDrop, {setting}", f"{iters} iterations of {batch} images a unit", work)


def fits(runs: Mapping[Point, Mapping[str, Any]]) -> dict[str, Fit]:
    """Of each part, to the medians of equal runs."""
    equal: dict[tuple[Amount, int], list[Mapping[str, float]]] = {}
    for point, run in runs.items():
        equal.setdefault((point.amount, point.processes), []).append(run["seconds"])
    return {
        name: fit(
            [
                Measured(
                    part.work(amount),
                    processes if part.shared else 1,
                    statistics.median(map(part.seconds, seconds)),
                )
                for (amount, processes), seconds in equal.items()
            ],
            part.exchange,
        )
        for name, part in PARTS.items()
    }


def fit_table(found: Mapping[str, Fit], forward: float) -> str:
    """The parameters; an image's in forward passes of the float model, which take ``forward`` s."""
    columns = ("part of a round", "once, ms", "image, passes", "exchange, ms", "largest error")
    rows = []
    for name, one in found.items():
        shared = PARTS[name].shared
        rows.append(
            [
                name,
                f"{1000 * one.once:.1f}",
                f"{one.image / forward:.2f}" if name != "metric" else f"{1000 * one.image:.1f} ms",
                f"{1000 * one.exchange:.1f}" if shared else "not shared",
                f"{100 * one.error:.0f} %",
            ]
        )
    return table(columns, rows)


def job_table(found: Mapping[str, Fit], transfer: Transfer, evals: int) -> str:
    """What each job takes on one device and on more."""
    rows = []
    for job in jobs(evals):
        own = [
            sum(part_seconds(name, work, found, transfer, n) for name, work in job.work.items())
            for n in DEVICES
        ]
        gains = [f"{duration(s)} ({own[0] / s:.0f}x)" for s in own[1:]]
        rows.append([job.title, job.how_much, duration(own[0]), *gains])
    titles = [f"{n} device{'s' if n > 1 else ''}" for n in DEVICES]
    return table(["job", "of", *titles], rows)


def part_seconds(
    name: str, work: Work, found: Mapping[str, Fit], transfer: Transfer, devices: int
) -> float:
    """Of one part of the other model.

    The metric does not know of the model: its seconds an image are the measured ones.
    """
    part = PARTS[name]
    if name == "metric":
        return found[name].seconds(work, 1)
    return transfer.seconds(found[name], work, devices if part.shared else 1)


def duration(seconds: float) -> str:
    """In the largest unit of which it is one or more."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def selected(runs: Mapping[Point, Mapping[str, Any]], amount: Amount) -> dict[int, list[Any]]:
    """The runs of one amount, by the number of processes, in the order of their repeats."""
    chosen: dict[int, list[Any]] = {}
    for point in sorted((p for p in runs if p.amount == amount), key=lambda p: p.repeat):
        chosen.setdefault(point.processes, []).append(runs[point])
    return dict(sorted(chosen.items()))


def described(points: Sequence[Point]) -> str:
    """What was run, in a line."""
    amount, repeats = points[-1].amount, 1 + max(point.repeat for point in points)
    return (
        f"{amount.images} calibration and {amount.tested} test images, {amount.evals} evaluations, "
        f"{amount.iters} iterations of {amount.batch} images a unit; medians of {repeats} runs, in "
        "turns, every process with one thread"
    )
