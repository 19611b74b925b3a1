"""The sweep: a plan of cells, a store of records, and processes that turn the one into the other.

Nothing is imported here, so that reading records (``bench.sweep.store``) and flags (``bench.sweep.settings``) stays free
of torch.
"""
