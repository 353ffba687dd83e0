"""minipod: real Kubernetes Pods on one Linux host, built from Linux primitives."""

__version__ = "0.1.0"
