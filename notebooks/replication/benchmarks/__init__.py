"""Error and evaluations beside other libraries."""
