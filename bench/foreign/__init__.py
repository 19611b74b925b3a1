"""Distilled sets that other people released: read safely, understood with evidence, tried, and turned into sets of this suite."""
