"""Words for people about bots and their ends, on a terminal or a page, and what is hidden in them."""
