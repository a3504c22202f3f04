"""What places and answers calls for cordboard: the one interface of media layers, and the one that needs no SIP."""
