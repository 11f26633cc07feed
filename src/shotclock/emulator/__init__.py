"""A QPU's time and samples without the QPU: target timing, network, queue, noise, from sourced figures."""
