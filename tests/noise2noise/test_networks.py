"""The networks by name: what they ask of images, their gradients, and the reports they follow."""

import pytest
import torch
from torch import Tensor, nn

from chainrule import Conv2d, Module, gradcheck_direction, load
from noise2noise.data import load_pair_file
from noise2noise.errors import UserError
from noise2noise.metrics import mean_psnr
from noise2noise.networks import ARCHITECTURES, build, copy_weights, sizes_of

# Small versions of every kind, deeper and shallower than the defaults too.
SMALL = [
    ("compact", {"width": 3}),
    ("compact", {"width": 2, "depth": 0, "blocks": 2}),
    ("compact", {"width": 2, "depth": 2}),
    ("fine", {"width": 3, "depth": 1}),
    ("fine", {"width": 2, "depth": 0, "blocks": 2}),
    ("fine", {"width": 2}),
    ("guided", {"width": 3, "depth": 1, "blocks": 1}),
    ("guided", {"width": 2, "depth": 0}),
    ("guided", {"width": 2, "depth": 2, "blocks": 1, "most": 3}),
    ("dncnn", {"width": 4, "depth": 4}),
    ("ffdnet", {"width": 4, "depth": 3}),
    ("drunet", {"width": 2, "blocks": 1}),
    ("unet", {"width": 3, "depth": 1}),
    ("unet", {"width": 2, "depth": 3}),
    ("zhao", {"width": 4}),
    ("zhao", {"width": 3, "depth": 1, "leaky": 1}),
    ("zhao", {"width": 2, "depth": 3}),
    ("coldenhoff", {"width": 4}),
    ("coldenhoff", {"width": 2, "depth": 1}),
    ("coldenhoff", {"width": 2, "depth": 3}),
    ("mery", {"width": 4}),
    ("mery", {"width": 2, "depth": 1}),
    ("mery", {"width": 2, "depth": 3}),
    ("mery-skip", {"width": 4}),
    ("mery-skip", {"width": 4, "skip": 0}),
    ("mery-skip", {"width": 3, "depth": 2}),
    ("mery-skip", {"width": 3, "depth": 6, "inner": 2}),
    ("hilsberg", {"width": 4}),
    ("hilsberg", {"width": 2, "depth": 1}),
    ("hilsberg", {"width": 2, "depth": 3}),
    ("hilsberg-published", {"width": 4}),
    ("hilsberg-published", {"width": 2, "depth": 3}),
]


def facts(name: str, sizes: dict[str, int]) -> tuple[int, int]:
    """(multiple, reach) as declared."""
    complete = sizes_of(name, sizes)
    return ARCHITECTURES[name].multiple(complete), ARCHITECTURES[name].reach(complete)


def inputs(name: str, sizes: dict[str, int]) -> int:
    """How many channels the network's input has."""
    return ARCHITECTURES[name].inputs(sizes_of(name, sizes))


def alive(model: Module) -> Module:
    """The model in float64 with no weight and no bias at zero, as after training."""
    model.to(torch.float64)
    for values in model.parameters():
        values.uniform_(0.01, 0.2)
        values.mul_(torch.randint_like(values, 2).mul(2).sub(1))
    return model


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_output_has_the_shape_of_the_input(name, channels):
    multiple, _ = facts(name, {})
    height, width = multiple * -(-8 // multiple), multiple * -(-13 // multiple)
    x = torch.rand(2, inputs(name, {"channels": channels}), height, width)
    y = build(name, channels=channels, width=4).infer(x)
    assert y.shape == (2, channels, height, width)


@pytest.mark.parametrize(("name", "sizes"), SMALL)
def test_multiple_is_the_least_there_is(name, sizes):
    multiple, _ = facts(name, sizes)
    model = build(name, **sizes)
    start = max(2 * multiple, 8)
    fitting = []
    for side in range(start, start + 2 * multiple):
        try:
            x = torch.rand(1, inputs(name, sizes), side, side)
            fitting.append(model.infer(x).shape[2] == side)
        except ValueError:
            fitting.append(False)
    assert fitting == [side % multiple == 0 for side in range(start, start + 2 * multiple)]


@pytest.mark.parametrize(("name", "sizes"), SMALL)
def test_a_pixel_has_influence_as_far_as_reach_says_and_no_farther(name, sizes):
    multiple, reach = facts(name, sizes)
    model = alive(build(name, channels=1, **sizes))
    for values in model.parameters():
        values.abs_()  # so that no ReLU and no sum hides an influence,
        values /= values[0].sum()  # and no sigmoid is saturated
    side = -(-(2 * reach + 2 * multiple) // multiple) * multiple
    first = reach // multiple * multiple
    channels = inputs(name, {**sizes, "channels": 1})
    x = 0.1 + 0.5 * torch.rand(1, channels, side, side, dtype=torch.float64)
    y = model.infer(x)
    farthest = 0
    for place in range(first, first + multiple):  # strided layers treat neighbours differently
        changed = x.clone()
        changed[0, 0, place, place] += 0.3
        rows, columns = (model.infer(changed) != y)[0, 0].nonzero(as_tuple=True)
        distances = torch.cat((rows, columns)) - place
        farthest = max(farthest, int(distances.abs().max()))
    assert farthest == reach


@pytest.mark.parametrize(("name", "sizes"), SMALL)
def test_gradients(name, sizes):
    multiple, _ = facts(name, sizes)
    model = alive(build(name, **sizes))
    size = max(3 * multiple, 8), max(2 * multiple, 8)
    gradcheck_direction(model, torch.rand(2, inputs(name, sizes), *size))


def test_sizes_are_arguments():
    def parameters(name: str, **sizes: int) -> int:
        return sum(value.numel() for value in build(name, **sizes).parameters())

    assert sizes_of("compact", {"depth": 2}) == {
        "channels": 3,
        "width": 48,
        "depth": 2,
        "blocks": 1,
    }
    smallest = parameters("compact", channels=1, width=8, depth=0)
    assert smallest == (8 * 16 + 8) + 2 * 2 * (8 * 8 * 9 + 8) + (8 * 16 + 1)
    for more in ({"channels": 3}, {"width": 9}, {"depth": 1}, {"blocks": 2}):
        assert parameters("compact", **{"channels": 1, "width": 8, "depth": 0, **more}) > smallest


def test_guided_takes_images_of_any_scale_and_strength_of_noise():
    model = alive(build("guided", channels=1, width=3, depth=1, blocks=1))
    x = torch.randn(2, 2, 8, 12, dtype=torch.float64)
    for factor in (1e-6, 0.3, 1e5):
        torch.testing.assert_close(
            model.infer(factor * x), factor * model.infer(x), rtol=1e-9, atol=0
        )


def test_guided_begins_as_a_network_that_changes_nothing():
    x = torch.rand(1, 6, 16, 16)
    assert torch.equal(build("guided", width=4, depth=1).infer(x), x[:, :3])


def test_guided_has_no_more_channels_than_most():
    model = build("guided", width=4, depth=3, most=8)
    assert max(max(values.shape[:2]) for values in model.parameters()) == 8


def test_compact_begins_as_a_network_that_changes_nothing():
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(build("compact", width=4, depth=2).infer(x), x)


def test_the_same_seed_makes_the_same_network():
    torch.manual_seed(3)
    first = build("compact", width=4).state_dict()
    torch.manual_seed(3)
    second = build("compact", width=4).state_dict()
    assert all(torch.equal(second[name], value) for name, value in first.items())


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        ("compcat", {}, "there is no architecture 'compcat'; did you mean compact[?]"),
        (
            "?",
            {},
            "no architecture '[?]'; choose one of compact, fine, guided, unet, zhao, david",
        ),
        ("compact", {"widht": 3}, "compact has no size 'widht'; did you mean width[?]"),
        ("zhao", {"kernel": 3}, "no size 'kernel'; choose one of channels, width, depth, leaky"),
        ("zhao", {"leaky": -1}, "zhao: leaky must be a whole number of at least 0, got -1"),
        ("mery-skip", {"depth": 5}, "depth must be even, as many down as up; got 5"),
        ("mery-skip", {"depth": 1}, "depth must be a whole number of at least 2, got 1"),
        ("compact", {"width": 0}, "compact: width must be a whole number of at least 1, got 0"),
        ("compact", {"depth": -1}, "depth must be a whole number of at least 0, got -1"),
        ("unet", {"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ("unet", {"width": 2.5}, "width must be a whole number of at least 1, got 2.5"),
        ("unet", {"width": True}, "width must be a whole number of at least 1, got True"),
        ("unet", {"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
    ],
)
def test_what_there_is_not(name, sizes, words):
    with pytest.raises(UserError, match=words):
        build(name, **sizes)


# The reports' and papers' networks, written down a second time.


class MerySkip(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3)
        self.t_conv1 = nn.ConvTranspose2d(width, width, 3)
        self.t_conv2 = nn.ConvTranspose2d(2 * width, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x).relu()
        decoded = self.t_conv1(self.conv2(first).relu()).relu()
        return self.t_conv2(torch.cat((first, decoded), 1)).sigmoid()


def zhao_twin(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 3, 3, stride=2, padding=1, output_padding=1),
        nn.Sigmoid(),
    )


def assert_equal_to_twin(ours: Module, twin: nn.Module) -> None:
    ours.to(torch.float64)
    twin.to(torch.float64)
    by_last_names = {
        ".".join(name.split(".")[-2:]): value for name, value in ours.state_dict().items()
    }
    twin.load_state_dict(by_last_names)
    x = torch.rand(2, 3, 12, 16, dtype=torch.float64)
    expected = twin(x)
    assert torch.allclose(ours.forward(x), expected.detach(), rtol=1e-12, atol=1e-12)
    gy = torch.randn_like(expected).detach()
    expected.backward(gy)
    ours.backward(gy)
    for (name, value), (_, own) in zip(by_last_names.items(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(value.grad, own.grad, rtol=1e-10, atol=1e-12, msg=name)


def test_mery_skip_is_the_report_s():
    assert_equal_to_twin(build("mery-skip", width=5), MerySkip(5))


def test_zhao_is_the_report_s():
    assert_equal_to_twin(build("zhao", width=5), zhao_twin(5))


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ({"width": 32, "depth": 4}, 20_259),
        ({"width": 26, "depth": 6, "inner": 22}, 20_533),
        ({"width": 20, "depth": 8, "inner": 18, "outer": 2}, 20_729),
        ({"width": 18, "depth": 10, "inner": 16}, 20_131),
        ({"width": 16, "depth": 12, "inner": 14, "outer": 2}, 20_253),
    ],
)
def test_networks_of_mery_s_table_2_have_as_many_parameters_as_it_says(sizes, parameters):
    model = build("mery-skip", skip=0, **sizes)
    assert sum(value.numel() for value in model.parameters()) == parameters


def test_leaky_changes_what_zhao_does_below_zero_and_nothing_else():
    torch.manual_seed(0)
    plain = build("zhao", width=4)
    torch.manual_seed(0)
    leaky = build("zhao", width=4, leaky=1)
    assert list(plain.state_dict()) == list(leaky.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert not torch.equal(plain.infer(x), leaky.infer(x))
    for values in [*plain.parameters(), *leaky.parameters()]:
        values.abs_()  # nothing is below zero then
    assert torch.equal(plain.infer(x), leaky.infer(x))


def test_unet_has_the_paper_s_convolutions():
    encoder = [(3, 48), (48, 48), (48, 48), (48, 48), (48, 48), (48, 48), (48, 48)]
    decoder = [(96, 96), (96, 96), *[(144, 96), (96, 96)] * 3, (99, 64), (64, 32), (32, 3)]
    found = [
        (module.weight.shape[1], module.weight.shape[0])
        for _, module in build("unet").named_modules()
        if isinstance(module, Conv2d)
    ]
    assert found == encoder + decoder


@pytest.mark.parametrize(
    ("name", "file", "decibels"),
    [
        ("coldenhoff", "coldenhoff", 24.08),
        ("mery", "mery", 23.66),
        ("hilsberg-published", "hilsberg", 24.41),
        ("david", "david", 24.86),
        ("mery-skip", "mery_skip", 25.73),
    ],
)
def test_published_weights_reach_their_quality(shared, name, file, decibels):
    """The PSNR that the groups' own code measures on these images with these weights."""
    model = build(name)
    load(shared / "data" / "published_weights" / f"{file}.safetensors", model)
    noisy, clean = load_pair_file(shared / "data" / "ee559" / "val_data.pkl")
    prediction = model.infer(noisy / 255)
    assert mean_psnr(prediction, clean / 255) == pytest.approx(decibels, abs=0.02)


def test_a_grey_network_begun_by_a_colour_one_sees_three_equal_channels():
    colour, grey = build("compact", width=4), build("compact", width=4, channels=1)
    copy_weights(alive(colour), grey.to(torch.float64))
    x = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    expected = colour.infer(x.repeat(1, 3, 1, 1)).mean(1, keepdim=True)
    assert torch.allclose(grey.infer(x), expected)


def test_weights_are_copied_to_a_network_of_the_same_sizes():
    first, second = alive(build("zhao", width=4)), build("zhao", width=4).to(torch.float64)
    copy_weights(first, second)
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    assert torch.equal(first.infer(x), second.infer(x))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("compact", {"width": 5}), ("zhao", {"width": 4}), ("compact", {"width": 4, "depth": 2})],
)
def test_weights_of_another_network_are_refused(name, sizes):
    target = build(name, **sizes)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UserError, match="of another network"):
        copy_weights(build("compact", width=4), target)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_a_grey_network_can_t_begin_a_colour_one():
    with pytest.raises(UserError, match="of another network"):
        copy_weights(build("compact", width=4, channels=1), build("compact", width=4))
