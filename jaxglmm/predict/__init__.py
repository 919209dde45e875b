"""Predictions for given design rows: means, their errors and limits, and responses to come."""
