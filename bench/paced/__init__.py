"""A load generator that asks at a constant rate and counts from when it should have asked."""
