"""
Tests of C{ethp2p.blocks}.
"""
