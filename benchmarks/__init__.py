"""What sessions and the serializer cost, beside others in the same run. ``make bench`` prints the tables."""
