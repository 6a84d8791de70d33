"""What people and programs see: stored figures as tables and as JSON Lines."""
