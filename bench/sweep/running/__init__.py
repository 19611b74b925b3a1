"""What a run does: stages in processes of their own, and the executors that carry them."""
