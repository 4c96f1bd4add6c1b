"""
Tests of the eth room.
"""
