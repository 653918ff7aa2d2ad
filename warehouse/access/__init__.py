"""Who may take what from a lake, until when: requests and agreements, their log, and what was released under them."""
