"""What is special about each kind, put together: defaults, strategy, validation, field selectors, columns.

Loaded with the first use of a kind (`kind.hooks_in`). Strategies follow upstream's pkg/registry/*/strategy.go.
"""
