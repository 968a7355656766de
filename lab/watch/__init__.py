"""`./dev watch`: a demo that keeps running, with Prometheus, and Grafana where it is installed."""
