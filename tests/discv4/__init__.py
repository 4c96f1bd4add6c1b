"""
Discovery v4: packets, proofs, the engine, and its shell.
"""
