"""How two sides are compared: what the source lists against what stands here, differences looked at twice."""
