"""The loops that bring actual state to desired state, each through the API client."""
