"""Simulation studies: scenarios, their replicates, and what analyses make of them."""
