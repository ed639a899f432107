"""What the product needs of the world, as Protocols. Each has a shipped fake (`adapters/sim`) and a contract suite."""
