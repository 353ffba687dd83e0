"""Role-based access control as rules: what they allow, what covers what, and the roles that every cluster has. Pure."""
