"""Trying policies before they bite: the same `decide()`, asked about requests that nobody makes. Pure."""
