"""
The household: who is here, who may come in, whom we call.

Knows no wire.  Decisions are plain functions of what is known and the time; the shells that carry them out
live with the node.  Floor 5.
"""
