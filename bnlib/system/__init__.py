"""The world outside: places, files, stamps, signals, downloads."""
