"""Figures: what is in the files, looked at through their pixels."""

import csv
from pathlib import Path

import matplotlib
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise2noise.errors import UserError
from noise2noise.figures import save_comparison, save_curves

HISTORY = [
    {"epoch": i, "training_loss": 0.05 / i, "validation_psnr": 20.0 + i, "seconds": 3.0}
    for i in range(1, 8)
]


def opened(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def as_bytes(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.rint(255 * image), (3, *image.shape[1:])).transpose(1, 2, 0)


def found(block: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Where a block of pixels stands in a picture: all (row, column) of its upper left corner."""
    height, width = block.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], (height, width))
    candidates = np.argwhere(windows[..., 0, 0] == block[0, 0, 0])
    return [
        (row, column)
        for row, column in candidates.tolist()
        if np.array_equal(picture[row : row + height, column : column + width], block)
    ]


class TestComparison:
    @settings(max_examples=10, deadline=None)
    @given(st.integers(2, 4), st.integers(310, 340), st.integers(20, 60), st.sampled_from([1, 3]))
    def test_images_stand_side_by_side_in_order_pixel_for_pixel(
        self, tmp_path_factory, count, width, height, channels
    ):
        rng = np.random.default_rng(width)
        images = [rng.random((channels, height, width)) for _ in range(count)]
        path = tmp_path_factory.mktemp("figures") / "x.png"
        save_comparison(path, [(f"image {i}", image) for i, image in enumerate(images)], "below")
        picture = opened(path)
        places = [found(as_bytes(image), picture) for image in images]
        assert all(len(place) == 1 for place in places)
        rows, columns = zip(*(place[0] for place in places), strict=True)
        assert len(set(rows)) == 1
        assert np.all(np.diff(columns) > width)

    def test_small_images_become_squares_of_one_size(self, tmp_path):
        image = np.random.default_rng(0).random((3, 10, 12))
        save_comparison(tmp_path / "x.png", [("left", image), ("right", image)])
        picture = opened(tmp_path / "x.png")
        factor = round(900 / 2 / 12)
        assert len(found(as_bytes(image).repeat(factor, 0).repeat(factor, 1), picture)) == 2

    def test_values_are_clipped_for_display(self, tmp_path):
        image = np.random.default_rng(0).normal(0.5, 1, (1, 40, 400))
        save_comparison(tmp_path / "x.png", [("wild", image), ("", image), ("", image)])
        assert found(as_bytes(image.clip(0, 1)), opened(tmp_path / "x.png"))

    def test_the_zoomed_square_is_framed_and_shown_enlarged_below(self, tmp_path):
        image = np.random.default_rng(0).random((3, 300, 300)) * 0.2
        panels = [("a", image), ("b", image), ("c", image)]
        save_comparison(tmp_path / "plain.png", panels)
        save_comparison(tmp_path / "zoom.png", panels, zoom=(100, 40, 60))
        plain, zoomed = opened(tmp_path / "plain.png"), opened(tmp_path / "zoom.png")
        square = as_bytes(image[:, 100:160, 40:100]).repeat(5, 0).repeat(5, 1)
        places = found(square, zoomed)
        ((top, left), *_) = found(as_bytes(image), plain)
        assert len(places) == 3
        assert all(row >= top + 300 for row, _ in places)
        changed = np.argwhere((plain[: top + 300] != zoomed[: top + 300]).any(-1))
        changed = changed[changed[:, 1] < left + 300] - (top, left)
        np.testing.assert_allclose(changed.min(0), (100, 40), atol=2)
        np.testing.assert_allclose(changed.max(0), (160, 100), atol=2)

    def test_long_titles_stay_over_their_own_images(self, tmp_path):
        image = np.zeros((1, 50, 300))
        panels = [("a title much longer than the image is wide " * 2, image)] * 3
        save_comparison(tmp_path / "x.png", panels)
        picture = opened(tmp_path / "x.png")
        columns = np.flatnonzero((picture[-30] == 255).all(-1))  # white beside the black images
        head = picture[: picture.shape[0] - 60, columns]
        assert (picture[: picture.shape[0] - 60] < 128).any()
        assert (head == 255).all()

    def test_text_grows_with_the_width_of_the_picture(self, tmp_path):
        heights = []
        for width in (290, 600):
            panels = [("H", np.ones((1, 50, width)))] * 3
            save_comparison(tmp_path / f"{width}.png", panels)
            ink = (opened(tmp_path / f"{width}.png") < 128).any((1, 2))
            heights.append(ink.sum())
        assert heights[1] == pytest.approx(2 * heights[0], abs=2)

    def test_a_title_is_text_and_never_a_formula(self, tmp_path):
        save_comparison(tmp_path / "x.png", [("cost $\\frac{$ %_^", np.ones((1, 50, 300)))])

    def test_huge_images_are_reduced(self, tmp_path):
        image = np.full((1, 100, 5000), 0.4)
        save_comparison(tmp_path / "x.png", [("a", image), ("b", image)])
        assert 2000 < opened(tmp_path / "x.png").shape[1] < 2500

    @pytest.mark.parametrize(
        ("shapes", "zoom", "words"),
        [
            ([], None, "no images"),
            ([(3, 8, 8), (3, 8, 9)], None, "one size"),
            ([(8, 8)], None, r"\(8, 8\)"),
            ([(2, 8, 8)], None, r"\(2, 8, 8\)"),
            ([(3, 8, 8)], (4, 0, 5), "leaves the images of 8 x 8"),
            ([(3, 8, 8)], (-1, 0, 2), "leaves"),
            ([(3, 8, 8)], (0, 0, 0), "leaves"),
        ],
    )
    def test_images_that_do_not_fit_are_refused(self, tmp_path, shapes, zoom, words):
        panels = [("x", np.zeros(shape)) for shape in shapes]
        with pytest.raises(ValueError, match=words):
            save_comparison(tmp_path / "x.png", panels, zoom=zoom)
        assert not list(tmp_path.iterdir())

    def test_a_file_is_replaced_only_if_allowed(self, tmp_path):
        path, panels = tmp_path / "x.png", [("x", np.zeros((1, 8, 8)))]
        path.write_text("mine")
        with pytest.raises(UserError, match=r"x\.png exists already"):
            save_comparison(path, panels)
        assert path.read_text() == "mine"
        save_comparison(path, panels, overwrite=True)
        assert opened(path).size
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["x", "x.txt", "x.pdf"])
    def test_a_suffix_that_can_not_be_drawn_is_refused(self, tmp_path, name):
        with pytest.raises(UserError, match=r"end it in one of \.png"):
            save_comparison(tmp_path / name, [("x", np.zeros((1, 8, 8)))])
        assert not list(tmp_path.iterdir())


def texts(path: Path) -> str:
    """A drawing as SVG, in which text stays text."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        save_curves(HISTORY, path)
    return path.read_text()


class TestCurves:
    def test_axes_are_labelled_with_units_and_the_best_epoch_is_named(self, tmp_path):
        drawing = texts(tmp_path / "x.svg")
        labels = ("epoch", "training loss", "validation PSNR (dB)", "best 27.00 dB in epoch 7")
        assert all(label in drawing for label in labels)

    def test_rows_and_their_csv_file_draw_the_same(self, tmp_path):
        with (tmp_path / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY[0])
            writer.writeheader()
            writer.writerows(HISTORY)
        save_curves(HISTORY, tmp_path / "rows.png")
        save_curves(tmp_path / "history.csv", tmp_path / "file.png")
        assert np.array_equal(opened(tmp_path / "rows.png"), opened(tmp_path / "file.png"))

    def test_both_curves_are_drawn(self, tmp_path):
        save_curves(HISTORY, tmp_path / "x.png")
        left, right = np.array_split(opened(tmp_path / "x.png").astype(int), 2, axis=1)
        blue = left[..., 2] - left[..., 0] > 60
        orange = right[..., 0] - right[..., 2] > 60
        for ink in (blue, orange):
            assert np.ptp(np.flatnonzero(ink.any(0))) > 0.6 * ink.shape[1]
            assert np.ptp(np.flatnonzero(ink.any(1))) > 0.6 * ink.shape[0]

    def test_one_epoch_and_values_without_a_logarithm_can_be_drawn(self, tmp_path):
        flawed = [
            {"epoch": 1, "training_loss": 0.0, "validation_psnr": float("inf")},
            {"epoch": 2, "training_loss": 10.0, "validation_psnr": float("nan")},
            {"epoch": 3, "training_loss": 0.1, "validation_psnr": 20.0},
        ]
        for rows in (HISTORY[:1], flawed, flawed[:1]):
            save_curves(rows, tmp_path / "x.png")
            assert opened(tmp_path / "x.png").size

    def test_drawing_again_replaces_the_file_unless_forbidden(self, tmp_path):
        save_curves(HISTORY[:1], tmp_path / "x.png")
        before = (tmp_path / "x.png").read_bytes()
        with pytest.raises(UserError, match="exists already"):
            save_curves(HISTORY, tmp_path / "x.png", overwrite=False)
        assert (tmp_path / "x.png").read_bytes() == before
        save_curves(HISTORY, tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes() != before

    def test_a_history_that_can_not_be_drawn_is_refused(self, tmp_path):
        (tmp_path / "other.csv").write_text("epoch,loss\n1,0.5\n")
        (tmp_path / "empty.csv").write_text("epoch,training_loss,validation_psnr\n")
        (tmp_path / "words.csv").write_text("epoch,training_loss,validation_psnr\n1,low,20\n")
        (tmp_path / "nan.csv").write_text("epoch,training_loss,validation_psnr\nnan,1,20\n")
        for name, words in (
            ("nan", "an epoch that is no finite number"),
            ("other", "training_loss"),
            ("empty", "no epoch"),
            ("words", "training_loss"),
            ("missing", "missing.csv could not be read"),
        ):
            with pytest.raises(UserError, match=words):
                save_curves(tmp_path / f"{name}.csv", tmp_path / "x.png")
        assert not (tmp_path / "x.png").exists()
