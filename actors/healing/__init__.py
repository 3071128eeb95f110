"""What a round of the healer looks after, a room each."""
