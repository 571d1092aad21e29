"""Time and error beside other libraries."""
