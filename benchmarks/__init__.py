"""
What we claim about speed, measured side by side with others' implementations.

C{python -m benchmarks} runs the same scenarios with ethp2p, with EthereumJS's devp2p library and with
go-ethereum's p2p package: each implementation with itself, in two processes on loopback, one on each of two
cores.  Every run has all three in turn, so that what else the machine does hurts them alike; trust the ratios.

All three do the same work: TCP, the RLPx handshake in its EIP-8 form and Hello both ways; then messages of a
capability C{bench/1}, compressed with snappy, the same random bytes each time, acknowledged once at the end.
"""
