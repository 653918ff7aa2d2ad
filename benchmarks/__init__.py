"""Speed and memory, each measured beside a baseline in the same run; `make bench` runs them all."""
