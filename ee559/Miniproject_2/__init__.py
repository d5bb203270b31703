"""Mini-project 2: the framework under the denoiser, without autograd. See `model`."""  # noqa: N999
