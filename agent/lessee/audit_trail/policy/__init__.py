"""The trail of acts: who did what when, so that nothing in it can be altered unseen."""
