"""
The tests, a mirror of the tree.  Run by trial; property tests are derandomised, so that every run is the same.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ethp2p",
    derandomize=True,
    deadline=None,
    max_examples=200,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors],
)
settings.load_profile("ethp2p")
