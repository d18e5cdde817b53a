import numpy as np
import pytest
from scipy import ndimage

from mmptq.datasets import digits_rendering as rendering


def _ring(size: int = 8) -> np.ndarray:
    glyph = np.zeros((size, size))
    glyph[0, 1:-1] = glyph[-1, 1:-1] = glyph[:, 1] = glyph[:, -2] = 1.0
    return glyph


def test_interpolation_keeps_constants_and_straight_lines():
    # Catmull-Rom reproduces polynomials up to degree 2; the border cells lack a neighbour.
    inner = slice(12, -12)
    cells = np.arange(10, dtype=float)
    positions = (np.arange(80) + 0.5) / 8 - 0.5
    for power in (0, 1, 2):
        got = rendering._MATRIX @ cells**power
        np.testing.assert_allclose(got[inner], positions[inner] ** power, atol=1e-9)


def test_bilinear_matches_scipy():
    rng = np.random.RandomState(0)
    mask = rng.uniform(size=(80, 80))
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    dy, dx = rng.uniform(-45, 45, size=(2, 50, 50))
    want = ndimage.map_coordinates(mask, [dy + 39.5, dx + 39.5], order=1, mode="constant")
    inside = np.maximum(abs(dy), abs(dx)) < 39.4
    got = rendering._bilinear(mask, dy, dx)
    np.testing.assert_allclose(got[inside], want[inside], atol=1e-12)
    assert not got[np.maximum(abs(dy), abs(dx)) > 39.5].any()


@pytest.mark.parametrize("angle", [0.0, 12.0, -20.0])
@pytest.mark.parametrize("height", [16.0, 32.0, 60.0])
def test_warp_keeps_the_amount_of_ink(height, angle):
    mask = rendering.upsample_glyph(_ring())
    got = rendering.warp_glyph(mask, height, angle)
    # The faintest border pixels may be cut off with the border.
    assert got.sum() == pytest.approx(mask.sum() * (height / 64) ** 2, rel=0.03)


def test_quarter_turn_is_numpy_rot90():
    mask = rendering.upsample_glyph(np.tril(np.ones((8, 8))))
    upright = rendering.warp_glyph(mask, height=40.0, angle=0.0)
    turned = rendering.warp_glyph(mask, height=40.0, angle=90.0)
    np.testing.assert_allclose(turned, np.rot90(upright), atol=1e-6)


def test_warped_glyph_has_no_empty_border():
    mask = rendering.upsample_glyph(_ring())
    for height, angle in ((16.0, 13.0), (37.5, -20.0), (60.0, 7.0)):
        inside = rendering.warp_glyph(mask, height, angle) >= 0.35
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert height * 0.9 < inside.shape[0] < height * 1.4


def test_empty_glyph_gives_empty_mask():
    mask = rendering.upsample_glyph(np.zeros((8, 8)))
    assert rendering.warp_glyph(mask, 30.0, 5.0).shape == (0, 0)


def test_blend_cuts_off_at_the_border():
    canvas = np.zeros((4, 4, 3))
    rendering.blend(canvas, np.ones((3, 3)), np.array([9.0, 8.0, 7.0]), -2, 2)
    want = np.zeros((4, 4, 3))
    want[2:, 0] = (9, 8, 7)
    np.testing.assert_array_equal(canvas, want)


def test_box_iou_by_hand():
    assert rendering.box_iou((0, 0, 4, 4), (2, 2, 4, 4)) == pytest.approx(4 / 28)
    assert rendering.box_iou((0, 0, 4, 4), (4, 0, 4, 4)) == 0


def test_contrasting_color_differs_in_luminance():
    rng = np.random.RandomState(0)
    for against in np.linspace(0, 255, 30):
        color = rendering.contrasting_color(rng, False, float(against))
        assert abs(color @ (0.299, 0.587, 0.114) - against) >= rendering.MIN_CONTRAST


def test_boxes_are_tight_on_the_drawn_digits(monkeypatch):
    """Without clutter and grain, the box is where the image differs from its background."""
    monkeypatch.setattr(rendering, "MIN_DIGITS", 1)
    monkeypatch.setattr(rendering, "MAX_DIGITS", 1)
    glyphs, labels = _ring()[None], np.array([0])
    for seed in range(20):
        rng = np.random.RandomState(seed)
        canvas = np.full((160, 160, 3), 100.0)
        boxes, drawn = rendering._draw_digits(canvas, rng, True, glyphs, labels)
        assert drawn == [0]
        changed = np.abs(canvas - 100).max(axis=2)
        rows, cols = np.nonzero(changed > 0.35 * changed.max())
        x, y, width, height = boxes[0]
        found = (cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1)
        assert np.abs(np.array(found) - (x, y, width, height)).max() <= 1


def test_scene_is_deterministic_and_within_the_image():
    glyphs, labels = _ring()[None], np.array([0])
    first, second = (
        rendering.render_scene(np.random.RandomState([3, 1, 4]), glyphs, labels) for _ in range(2)
    )
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert first.image.shape == (160, 160, 3) and first.image.dtype == np.uint8
    assert (first.boxes[:, :2] >= 0).all()
    assert (first.boxes[:, :2] + first.boxes[:, 2:] <= 160).all()
    ious = [
        rendering.box_iou(tuple(a), tuple(b))
        for i, a in enumerate(first.boxes)
        for b in first.boxes[:i]
    ]
    assert max(ious, default=0) <= rendering.MAX_BOX_IOU
