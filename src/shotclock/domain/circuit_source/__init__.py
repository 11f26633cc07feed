"""What a user circuit's source would grow to, held against the limits before anything is built of it."""
