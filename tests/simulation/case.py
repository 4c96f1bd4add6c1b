"""What the tests of the simulations share."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase


class SimulationCase(SynchronousTestCase):
    """
    Without the collector of cycles: it looks again and again at all that a network keeps, which is a fifth of the
    time, and finds next to nothing.
    """

    def setUp(self) -> None:
        if gc.isenabled():
            gc.disable()
            self.addCleanup(gc.enable)
