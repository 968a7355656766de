"""What shows, measures and breaks the product. Only `lab.meeting` is installed with the programs."""
