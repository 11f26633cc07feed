"""The words of Shotclock. Imports nothing of ours."""
