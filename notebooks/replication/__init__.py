"""What reruns the paper: the chapters' experiments and figures, the data, and the runner."""
