"""What is where: fabrics between an accelerator's host and a QPU."""
