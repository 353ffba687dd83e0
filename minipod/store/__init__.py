"""Objects at resourceVersions in SQLite: compare-and-swap, list, watch. Knows no kinds and no HTTP."""
