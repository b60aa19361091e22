"""Many runs, each done once: worker processes or a cluster, the store, and what a run hangs on."""
