"""Bytes to and from Redis. Knows no Flask and no pickle."""
