"""A second router, written from the contract alone, slow and plain, to hold the engine against."""
