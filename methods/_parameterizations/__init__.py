"""Ways to store numbers that decode into labelled images, shared by several methods."""
