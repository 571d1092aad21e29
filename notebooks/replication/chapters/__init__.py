"""A folder for each chapter: what it trains and measures, what it calculates, what it draws."""
