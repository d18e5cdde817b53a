"""benchmarks/scaling_parts/predictions.py and points.py: from runs to fits, jobs in words."""

import pytest


@pytest.fixture
def predictions():
    from scaling_parts import predictions

    return predictions


@pytest.fixture
def points():
    from scaling_parts import points

    return points


def test_one_process_and_two_take_turns(points):
    amounts = [points.Amount(images, 12, 60) for images in (64, 128)]
    made = points.points("configs/demo/a.py", amounts, 2)
    assert [(p.repeat, p.amount.images, p.processes) for p in made] == [
        (repeat, images, n) for repeat in (0, 1) for images in (64, 128) for n in (1, 2)
    ]
    assert made[1].name == "a/images=64,evals=12,iters=60/processes=2/0"
    assert len({p.name for p in made}) == len(made)


def test_both_do_the_same_work(points):
    options = points.Amount(64, 12, 60).options()
    assert options == ["--images=64", "--tested=64", "--evals=12", "--iters=60", "--batch=8"]


def test_a_part_is_fitted_to_the_medians_of_its_own_seconds(points, predictions):
    runs = {}
    for point in points.points("a.py", [points.Amount(i, 12, 60) for i in (64, 128)], 3):
        share = point.amount.images / point.processes
        late = 100.0 if point.repeat == 1 else 0.0  # something else ran meanwhile
        runs[point] = {
            "seconds": {
                "statistics": 0.5 * share + 1 + late,
                "ranges": 2.0,
                "evaluation": 0.25 * share + 3 + 0.125 * point.amount.images,
                "metric": 3 + 0.125 * point.amount.images,
                "search": 0.75 * share + 11 * 0.5 * share,
                "searching": 11 * 0.5 * share,
                "reconstruction": 4 + share + 60 * share / 8,
                "adjusting": 60 * share / 8,
            }
        }
    found = predictions.fits(runs)
    assert set(found) == set(predictions.PARTS)
    once = {name: one.once for name, one in found.items()}
    image = {name: one.image for name, one in found.items()}
    assert once["statistics"] == pytest.approx(1) and image["statistics"] == pytest.approx(0.5)
    assert once["ranges"] == pytest.approx(2) and image["ranges"] == 0
    assert once["predicting"] == pytest.approx(0, abs=1e-9)
    assert image["predicting"] == pytest.approx(0.25)
    assert (once["metric"], image["metric"]) == pytest.approx((3, 0.125))
    assert image["preparing a search"] == pytest.approx(0.75)
    assert image["searching"] == pytest.approx(0.5)
    assert (once["capturing"], image["capturing"]) == pytest.approx((4, 1))
    assert image["adjusting"] == pytest.approx(1)


def test_every_job_is_made_of_parts(predictions):
    jobs = predictions.jobs(400)
    assert {part for job in jobs for part in job.work} == set(predictions.PARTS)
    passes = [job.work["adjusting"] for job in jobs if "adjusting" in job.work]
    assert [(work.rounds, work.images) for work in passes] == [(300, 8), (20000, 2), (625, 64)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.04, "5.0 s"), (60, "1.0 min"), (5400, "1.5 h"), (86400 * 3.25, "3.2 days")],
)
def test_durations(predictions, seconds, text):
    assert predictions.duration(seconds) == text
