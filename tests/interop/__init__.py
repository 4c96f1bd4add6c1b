"""
The interop ring: our node and peers that others wrote, speaking over real sockets on loopback.

C{python -m tests.interop} installs the peers at the versions pinned in L{tests.interop.toolchain} and runs the
modules here, which are not named C{test_*} so that the plain test run neither collects nor installs anything.

  - C{toolchain}: the pinned peers and the folder outside the checkout where they live.
  - C{peers}: each peer as a child process with a short life, and our own programs.
  - C{websocket}: who listens to the events of a node.
  - C{js/}: what EthereumJS's and ChainSafe's libraries are told to do.

A peer whose toolchain is missing skips its tests with one loud line; with C{CI=true} in the environment it
fails them.
"""
