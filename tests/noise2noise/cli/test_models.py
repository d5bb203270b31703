"""`noise2noise models`: what there is to denoise with."""

import json

from noise2noise.denoiser import Denoiser
from noise2noise.shipped import shipped_models


def test_the_table_names_every_model(done, stand_ins):
    lines = done("models").splitlines()
    assert len(lines) == 3
    for line, name in zip(lines[1:], ("grey", "photo"), strict=True):
        info = Denoiser.load(name).info
        assert line.split()[:2] == [name, "gaussian:25"]
        assert f"compact, {info.sizes['channels']} ch." in line
        assert f"{info.parameters:,}" in line
        assert line.rstrip().endswith("a stand-in")


def test_json_says_it_for_programs(done, stand_ins):
    grey, photo = json.loads(done("models", "--json"))
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
