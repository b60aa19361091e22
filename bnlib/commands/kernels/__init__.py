"""Kernels that run a report's notebooks: `warm` starts them, `app` is what runs in one, `client` sends it the cells."""
