"""What Kubernetes objects mean: kinds, schemas, defaults, validation, patches, columns. No I/O."""
