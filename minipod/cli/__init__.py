"""What a person types: kubectl's verbs and wording over the API socket, and a few verbs of minipod's own.

Imports fast: a command's module is loaded when that command runs, YAML only when YAML is read or written.
"""
