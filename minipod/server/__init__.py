"""The Kubernetes REST API: verbs, watch streams, admission; streams proxied to the node."""
