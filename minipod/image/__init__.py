"""References, content store, unpacking and building of container images."""
