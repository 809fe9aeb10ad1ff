"""The `data` of every answer, as types: what /openapi.json promises. A test holds real answers against them.

Times are RFC 3339 text in UTC. A member that an answer may leave out has the default UNSET; one that may be null says
so. Which answer belongs to which route: descriptions.py.
"""
