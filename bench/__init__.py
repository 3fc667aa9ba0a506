"""Measurements, side by side in one run: what tradesession costs, and what others and the bare minimum cost. Run by `scripts/bench`.

Each subject runs in a process of its own (`programs`, and `foreign` for other people's clients, in environments of their own) and measures
itself alone; the rounds of the subjects alternate, so that whatever else the machine does hits all of them. Figures are medians. They
tell about this machine and this moment; the ratios tell more.
"""
