"""What reproduces the published reports: every network, recipe and experiment of the five.

Each report has a file: `zhao`, `coldenhoff`, `mery`, `david`, `hilsberg`. It lists its studies; a
study names the runs it needs and writes its part of the page. `runs` trains (two studies that need
the same run share it), `data` makes the pairs, `against_torch` measures beside `torch.nn`, `report`
puts the page together from whatever is there.
"""
