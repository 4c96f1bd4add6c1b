"""
Tests of C{ethp2p.networks}.
"""
