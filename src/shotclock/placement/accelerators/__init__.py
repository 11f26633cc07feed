"""The host's accelerators by PCI address: from sysfs and KFD, and from amdsmi where the host supplies it."""
