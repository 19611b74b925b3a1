"""What a run would do: selections, cells and their keys, what earlier runs left of them, and how long the rest takes."""
