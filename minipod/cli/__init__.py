"""What a person types: a small HTTP client with kubectl's verbs, flags and words."""
