"""Kinds of goods, and how what is seen of each is written in a vector of features."""

from lwd_core.fleet.sim.orders import COLOURS, SHAPES, Goods

KINDS = tuple(Goods(colour, shape) for colour in COLOURS for shape in SHAPES)

#: Of each kind: whether it is there, 0 to 1, and where, (x, y, z) from `MIDDLE` in units of `UNIT`; 0 of what
#: is not there.
NUMBERS = 4
MIDDLE = (0.0, 0.68, 0.05)  # metres
UNIT = 0.1  # metres
