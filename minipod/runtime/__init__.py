"""Sandboxes and containers from plain specs: plan, executor, renderer, shim, exec, logs."""
