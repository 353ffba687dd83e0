"""Admission plugins: each decides one thing about a new or changed object from what is committed, and does no I/O.

`admit_*` completes an object in place, before it is validated; `check_*` only looks, after. A refusal is raised as
upstream's plugin of that name words it. `minipod.server.admission` calls them in upstream's order.
"""
