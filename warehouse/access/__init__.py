"""Access: who may take what, until when. Requests and agreements, the log of their events, and enforcement."""
