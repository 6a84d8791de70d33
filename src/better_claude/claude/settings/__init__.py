"""The client's settings files: read, judged together, changed, and given back."""
