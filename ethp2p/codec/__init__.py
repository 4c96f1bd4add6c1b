"""
Bytes and values: RLP and snappy, strict and bounded.

Speaks canonical RLP (Yellow Paper, appendix B) and the snappy block format (EIP-706).  Floor 0.
"""
