"""What several methods optimise."""
