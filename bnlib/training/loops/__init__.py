"""Other loops than `training.loop`: the original's plain one, and one that trains many networks at once on a GPU."""
