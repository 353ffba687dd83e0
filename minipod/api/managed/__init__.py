"""Who set which field of an object: managed fields, and server-side apply on top of them (KEP-555).

Pure functions over plain JSON data; the semantics are those of structured-merge-diff. `fieldset` is the algebra of
field sets, `shape` what the schema says of merging, `typed` walks objects, `managers` keeps metadata.managedFields.
"""
