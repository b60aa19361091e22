"""`make report`: data, then the runs that are missing, then the notebooks, then the pages; only what is not up to date."""
