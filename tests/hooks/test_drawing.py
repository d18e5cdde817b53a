import numpy as np
import pytest

from mmptq.hooks.drawing import Boxes, ClassStyle, draw_boxes, draw_comparison, panel_scale


def boxes(*rows):
    data = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Boxes(data[:, :4], data[:, 4], data[:, 5].astype(np.int64))


@pytest.mark.parametrize(
    ("shape", "longer"), [((160, 160), 480), ((480, 640), 640), ((800, 1333), 720), ((20, 10), 480)]
)
def test_panels_have_a_readable_size(shape, longer):
    assert round(max(shape) * panel_scale(*shape)) == longer


def test_boxes_are_where_they_belong():
    style = ClassStyle(("cat",), ((10, 200, 30),))
    image = np.zeros((160, 160, 3), dtype=np.uint8)
    drawn = draw_boxes(image, boxes((40, 60, 100, 120, 0.9, 0)), style)
    assert drawn.shape == (480, 480, 3)
    for y, x in ((180, 200), (360, 200), (250, 120), (250, 300)):  # the four sides, times 3
        assert drawn[y, x].tolist() == [10, 200, 30]
    assert drawn[270, 200].tolist() == [0, 0, 0]
    assert not image.any()


def test_boxes_beyond_the_image_and_unknown_classes():
    image = np.full((50, 80, 3), 255, dtype=np.uint8)
    drawn = draw_boxes(image, boxes((-20, -20, 200, 200, 0.5, 99)), ClassStyle())
    assert drawn.shape == (300, 480, 3)


def test_comparison_is_a_grid():
    image = np.zeros((160, 160, 3), dtype=np.uint8)
    panels = [(f"method {i}", boxes()) for i in range(5)]
    picture = draw_comparison(image, panels, ClassStyle(), per_row=3)
    height, width = picture.shape[:2]
    assert width == 3 * 480 + 4 * 8
    assert height == 2 * (480 + 34) + 3 * 8
    assert (picture[-100:, -400:] == 255).all()  # the sixth place is empty


def test_style_from_metainfo():
    style = ClassStyle.from_meta({"classes": ("a", "b"), "palette": [(1, 2, 3)]})
    assert (style.name(1), style.name(7)) == ("b", "class 7")
    assert style.color(0) == (1, 2, 3)
    assert len({style.color(i) for i in range(1, 30)}) == 29
    assert ClassStyle.from_meta({"palette": "random"}).palette == ()
    assert ClassStyle.from_meta(None) == ClassStyle()
