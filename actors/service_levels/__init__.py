"""How well the daemon does what it promises: levels with formula, window and target, told from what is stored."""
