"""How fast and how large: `chainrule` beside `torch.nn` on the same networks.

`speed` times the networks in turn, `alone` measures what needs a process of its own, `tables` shows
what came of it. `twins` is the one file of the two packages that uses `torch.nn`: the rival.
"""
