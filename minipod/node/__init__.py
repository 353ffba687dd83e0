"""The kubelet: pod workers, actions, sync, status, volumes, environment, and its HTTP API."""
