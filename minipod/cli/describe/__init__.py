"""`minipod describe`: one module per family of kinds, kubectl's layout."""
