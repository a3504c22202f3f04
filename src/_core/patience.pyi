# Functions in C alone: see patience.pxd.
