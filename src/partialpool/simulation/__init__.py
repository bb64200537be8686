"""Fits many times: fake data, calibration, samplers compared."""
