"""Point neurons to measure surrogates against: models, their fit to a member's recordings, and the judging of all of
them side by side. Nothing that runs networks imports this."""
