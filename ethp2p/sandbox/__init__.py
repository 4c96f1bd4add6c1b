"""
A whole private network on one machine, to try things out in.

C{chainmaker} makes its chain out of a seed: signed transfers of all fee types, true roots, and every fork up to
Prague, without a virtual machine.  geth imports such a chain and comes to the same state.

Known discrepancies: the chain has no system contracts.  A client gives EIP-4788 and EIP-2935 no account to write
to, which those allow; EIP-7002 and EIP-7251 call a Prague block without their contracts invalid, and geth does
not mind.  Roof.
"""
