"""What several cells share and is built once: features, class distances, expert trajectories."""
