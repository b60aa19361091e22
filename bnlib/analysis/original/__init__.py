"""The notebook that the question comes from: its figures, its claims, and its chain beside ours."""
