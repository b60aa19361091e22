"""What code is: `source` tells the package's by its text, `live` a notebook's by its objects, `named` what a notebook names."""
