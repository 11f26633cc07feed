"""The composition root: settings in, a running system out. Only here do packages of the middle layer meet."""
