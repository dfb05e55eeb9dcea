"""A load test of the example proxy: wrk sends requests, and listeners fail, stall and dispatch again."""
