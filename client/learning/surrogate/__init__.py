"""A model of the rows that a noisy Gram matrix tells of: denoised counts, logistic sums under it, and a fit to them.

Pure functions of opened sums and public tables: every member computes them alike, and they spend no privacy.
"""
