"""What reproduces the published reports, every network, recipe and experiment of the five, and the
Noise2Noise paper.

Each report has a file: `zhao`, `coldenhoff`, `mery`, `david`, `hilsberg`. It lists its studies; a
study names the runs it needs and writes its part of the page. `run` is a training run at work in
its folder (two studies that need the same run share it), `runs` trains by the reports' recipes,
`data` makes the pairs, `against_torch` measures beside `torch.nn`, `report` puts the pages together
from whatever is there.

The paper has `paper_plan`, which runs there are; `paper_runs`, what they draw and learn;
`paper_data`, of what; and `paper`, its page.
"""
