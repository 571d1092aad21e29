"""The paper's claims: their rules, and what the records say about them."""
