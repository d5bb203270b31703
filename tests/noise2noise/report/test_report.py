"""What is said of a result without a clean image, against the truth on simulated noise."""

from html.parser import HTMLParser

import numpy as np
import pytest

from noise2noise.dead_leaves import dead_leaves
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import stack_of
from noise2noise.inference import Settings
from noise2noise.metrics import psnr
from noise2noise.noise import NoiseProfile
from noise2noise.report import Entry, Examination, examine, removed, write_page

SIDE = 128


def clean(seed: int) -> np.ndarray:
    return 0.1 + 0.8 * dead_leaves(SIDE, np.random.default_rng(seed), channels=1)


def looked_at(picture: np.ndarray, sigma: float, told: float | None = None) -> Examination:
    rng = np.random.default_rng(3)
    noisy = (picture + sigma * rng.standard_normal(picture.shape)).astype(np.float32)
    settings = Settings(noise=NoiseProfile.gaussian(told or sigma))
    return examine(Denoiser.load("grey"), stack_of(noisy[0]), settings)


@pytest.fixture(scope="module")
def found() -> Examination:
    return looked_at(clean(1), 0.1)


def test_the_estimated_psnr_is_near_the_true_one(found):
    assert found.psnr is not None
    errors = [abs(found.psnr - psnr(found.clean, clean(1)))]
    for seed, sigma in ((2, 0.04), (3, 0.1), (4, 0.2), (5, 0.1), (6, 0.06), (7, 0.1)):
        picture = clean(seed)
        one = looked_at(picture, sigma)
        assert one.psnr is not None
        errors.append(abs(one.psnr - psnr(one.clean, picture)))
    assert np.median(errors) < 0.5


def test_the_estimate_hardly_depends_on_how_the_noise_was_measured(found):
    # SURE would be off by decibels with a deviation that is 3 % off.
    assert looked_at(clean(1), 0.1, told=0.103).psnr == pytest.approx(found.psnr, abs=1)


def test_a_good_result_is_trusted(found):
    assert found.trusted
    assert "looks like the noise" in found.sentence
    assert found.level == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("told", "said"), [(0.2, "of the standard deviation"), (0.05, "coarser noise was left")]
)
def test_a_result_of_noise_told_wrongly_is_doubted(told, said):
    found = looked_at(clean(1), 0.1, told)
    assert not found.trusted
    assert said in found.sentence
    assert found.sentence.endswith(".")


def test_where_there_is_no_noise_nothing_is_judged():
    found = examine(Denoiser.load("grey"), stack_of(np.full((40, 50), 0.5, np.float32)), Settings())
    assert found.psnr is None
    assert found.trusted


def test_what_was_removed_is_centred_and_scaled():
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((1, 64, 64)).astype(np.float32) + 0.2
    picture = removed(noise, np.zeros_like(noise)).astype(float)
    assert picture.mean() == pytest.approx(127.5, abs=1.5)
    assert picture.std() == pytest.approx(255 / 8, rel=0.05)
    assert removed(noise.repeat(3, 0), np.zeros((3, 64, 64), np.float32)).shape == (64, 64, 3)


class Sources(HTMLParser):
    """Whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path, found):
    path = tmp_path / "report.html"
    facts = {"model": "grey", "why": "since", "notes": ["a <note>"]}
    write_page(path, [Entry("<img src=x>.png", "out.png", facts, found)], "noise2noise 0")
    text = path.read_text("utf-8")
    sources = Sources()
    sources.feed(text)
    assert len(sources.found) == 5
    assert all(source.startswith("data:image/png;base64,") for source in sources.found)
    assert "&lt;img src=x&gt;.png" in text
    assert "a &lt;note&gt;" in text
    assert "url(" not in text
    assert f"about {found.psnr:.1f} dB" in text
    with pytest.raises(UserError, match="exists already"):
        write_page(path, [], "noise2noise 0")
