"""Chapter 09: time and error beside other libraries."""
