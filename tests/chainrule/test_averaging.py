"""The running average of weights: its formula, its state, and the model that it leaves alone."""

import pytest
import torch

from chainrule import Average, BatchNorm2d, Conv2d, Sequential


def changed(model: Sequential) -> None:
    for value in model.parameters():
        value.add_(torch.randn(value.shape))


def test_the_average_is_the_formula_s():
    model = Sequential(Conv2d(1, 2, 3))
    average, expected = Average(model, decay=0.9), model.state_dict()["0.weight"].clone()
    for step in range(1, 100):
        changed(model)
        average.update()
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * model.state_dict()["0.weight"]
    torch.testing.assert_close(average.state_dict()["0.weight"], expected)


def test_applied_lends_the_average_and_gives_the_weights_back_also_after_an_error():
    model = Sequential(Conv2d(1, 1, 1))
    average = Average(model, decay=0.5)
    changed(model)
    average.update()
    own = model.state_dict()["0.weight"].clone()
    with average.applied():
        assert not torch.equal(model.state_dict()["0.weight"], own)
        assert torch.equal(model.state_dict()["0.weight"], average.state_dict()["0.weight"])
    assert torch.equal(model.state_dict()["0.weight"], own)
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert torch.equal(model.state_dict()["0.weight"], own)


def test_buffers_are_averaged_and_counts_are_taken_over():
    model = Sequential(BatchNorm2d(2))
    average = Average(model, decay=0)
    model.forward(torch.randn(3, 2, 4, 4))
    average.update()
    with average.applied():
        assert int(model.state_dict()["0.num_batches_tracked"]) == 1


def test_an_average_goes_on_from_its_state():
    model = Sequential(Conv2d(1, 2, 3))
    first = Average(model, 0.9)
    for _ in range(3):
        changed(model)
        first.update()
    second = Average(model, 0.9)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    changed(model)
    first.update()
    second.update()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_another_model_s_state_and_a_decay_out_of_range_are_refused():
    average = Average(Sequential(Conv2d(1, 2, 3)))
    for state in ({}, Average(Sequential(Conv2d(1, 3, 3))).state_dict()):
        with pytest.raises(ValueError, match="no average of the weights of this model"):
            average.load_state_dict(state)
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\), got 1"):
        Average(Sequential(Conv2d(1, 1, 1)), decay=1)
