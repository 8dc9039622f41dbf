"""The events a demonstration publishes: a pipeline's generated ones, a few of them spoiled."""
