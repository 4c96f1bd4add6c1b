"""Tests of L{ethp2p.enode}."""
