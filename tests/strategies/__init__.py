"""How each strategy runs its listeners, and what its error policy does (rules 14 to 19)."""
