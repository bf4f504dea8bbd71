"""What wrapping a client costs, measured on this machine: ``python -m benchmarks overhead``."""
