"""Records become numbers: contrasts, thresholds, claims, benchmarks. Knows no torch."""
