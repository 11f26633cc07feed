"""Emulates a QPU's timing and samples: execution, network, queue and noise, from sourced figures."""
