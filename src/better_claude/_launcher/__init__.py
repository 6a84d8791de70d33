"""Holds the compiled launcher, which the package's build puts here."""
