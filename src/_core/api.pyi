# Functions in C alone: see api.pxd.
