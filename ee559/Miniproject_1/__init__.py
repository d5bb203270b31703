"""Mini-project 1: a denoiser that learns from noisy pairs. See `model`."""  # noqa: N999
