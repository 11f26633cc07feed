"""The composition root: settings in, a running system out. Only here are rooms introduced."""
