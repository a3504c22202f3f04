"""The compiled core: takes an event and the time, changes its state, returns effects. No I/O, no clock, no chance."""
