"""`noise2noise models`: what there is to denoise with."""

import json

from noise2noise.denoiser import Denoiser
from noise2noise.shipped import shipped_info, shipped_models


def test_every_model_is_named_with_what_is_known_of_it(done, stand_ins):
    lines = done("models").splitlines()
    names = ("camera", "grey", "photo")
    for first, second, name in zip(lines[::2], lines[1::2], names, strict=True):
        info = Denoiser.load(name).info
        channels = {1: "1 channel", 3: "3 channels"}[info.sizes["channels"]]
        assert first.split(maxsplit=1) == [name, "a stand-in"]
        assert f"learned from gaussian:25; network compact, {channels}," in second
        assert f"{info.parameters:,} parameters" in second


def test_headers_tell_what_loading_the_models_does():
    for name in shipped_models():
        assert shipped_info(name) == Denoiser.load(name).info


def test_json_says_it_for_programs(done, stand_ins):
    _, grey, photo = json.loads(done("models", "--json"))
    assert (grey["name"], grey["sizes"]["channels"]) == ("grey", 1)
    assert photo == {
        "name": "photo",
        "architecture": "compact",
        "sizes": {"channels": 3, "width": 8, "depth": 1, "blocks": 1},
        "title": "a stand-in",
        "noise": "gaussian:25",
        "parameters": Denoiser.load("photo").info.parameters,
    }


def test_what_is_listed_is_what_is_shipped(done):
    assert [model["name"] for model in json.loads(done("models", "--json"))] == shipped_models()


def test_a_damaged_model_is_named(refused, stand_ins):
    path = stand_ins / "grey.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert str(path) in refused("models")
