"""`./dev watch`: Prometheus, and Grafana where it is installed, beside a demo that goes on."""
