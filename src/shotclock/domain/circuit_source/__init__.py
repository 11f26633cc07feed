"""What a user circuit's source would grow to, compared with the limits before anything is built of it."""
