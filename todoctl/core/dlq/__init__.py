"""Dead letters as an operator sees them: reading any letter, groups, filters, plans, decisions, what came of a replay."""
